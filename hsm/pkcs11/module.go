package pkcs11

import (
	"fmt"
	"sync"

	ck "github.com/miekg/pkcs11"
)

// A module is a library that is loaded into this process.
type module struct {
	api cryptoki

	// calls is held for reading while calls run, for writing while the library
	// is closed and opened again: no call may run then (PKCS #11 v2.40, 5.4).
	calls sync.RWMutex
	// change is held by what writes token objects, one at a time: libraries
	// fail in odd ways when several do.
	change sync.Mutex

	users int
	ours  bool // this package initialised it, not another part of the program
}

// modules are the libraries in this process. It is the package's one variable:
// a library has one state in a process, whoever uses it (PKCS #11 v2.40, 5.4).
var modules = struct {
	sync.Mutex
	byPath map[string]*module
}{byPath: map[string]*module{}}

// join loads and initialises a library, or shares it.
func join(path string) (*module, error) {
	modules.Lock()
	defer modules.Unlock()
	m := modules.byPath[path]
	if m == nil {
		api, err := load(path)
		if err != nil {
			return nil, err
		}
		m = &module{api: api}
		modules.byPath[path] = m
	}
	if m.users == 0 {
		err := m.api.Initialize()
		if err != nil && !is(err, ck.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
			return nil, fmt.Errorf("PKCS #11 library %s: C_Initialize: %w; see whether this user may read the library's configuration and reach its tokens", path, err)
		}
		m.ours = err == nil
	}
	m.users++
	return m, nil
}

// leave ends what join began.
func (m *module) leave() error {
	modules.Lock()
	defer modules.Unlock()
	m.users--
	if m.users > 0 || !m.ours {
		return nil
	}
	return m.api.Finalize()
}

// restart closes the library and opens it again: some find a token that came
// back only then. It leaves a library alone that somebody else uses, or that
// runs a call.
func (m *module) restart(api cryptoki) {
	modules.Lock()
	defer modules.Unlock()
	if m.users > 1 || !m.ours || !m.calls.TryLock() {
		return
	}
	defer m.calls.Unlock()
	// What is wrong with it shows when a session is opened.
	_ = api.Finalize()
	_ = api.Initialize()
}
