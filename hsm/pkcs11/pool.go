package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
)

// How long a token that is gone is left alone before it is tried again.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 30 * time.Second
)

// A token is an open token: its sessions, and the keys that were looked up.
type token struct {
	cfg    Config
	table  map[string]uint
	module *module
	api    cryptoki // of the module
	busy   chan struct{}

	// names of records that this process wrote and could not finish; under
	// module.change.
	pending map[string]bool
	// patience is how long another process's unfinished key is waited for.
	patience time.Duration

	info hsm.Info

	mu       sync.Mutex
	closed   bool
	line     *line // nil after a loss
	lost     *line // what was lost; its sessions are to be closed
	refused  error // the PIN was; it is never tried again
	failures int
	after    time.Time // when a lost token is tried again
	last     error     // why it is lost
}

// A line is one login: its sessions, and handles that are good for it.
type line struct {
	slot   uint
	anchor sessionHandle // stays open: the login ends with the last session
	idle   []*session    // under token.mu
	keys   map[string]*key
}

// A session runs one call at a time.
type session struct {
	*token
	line    *line
	handle  sessionHandle
	tainted bool // has objects that it cannot be rid of
	through *window
}

// findSlot finds the token that is configured; after a loss the same one.
func (t *token) findSlot() (uint, tokenInfo, error) {
	slots, err := t.api.GetSlotList()
	if err != nil {
		return 0, tokenInfo{}, fmt.Errorf("C_GetSlotList: %w", err)
	}
	type place struct {
		slot uint
		info tokenInfo
	}
	var found []place
	var there []string
	half := "" // a token that only a part of the configuration names
	c := &t.cfg
	for _, slot := range slots {
		i, err := t.api.GetTokenInfo(slot)
		if err != nil {
			continue // a slot that is not ours may be broken
		}
		if i.flags&ck.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		there = append(there, fmt.Sprintf("%q (serial %s, slot %d)", i.label, i.serial, slot))
		named := c.Slot != nil && *c.Slot == slot || c.Serial != "" && c.Serial == i.serial || c.Token != "" && c.Token == i.label
		fits := (c.Slot == nil || *c.Slot == slot) && (c.Serial == "" || c.Serial == i.serial) && (c.Token == "" || c.Token == i.label)
		if t.info.Serial != "" { // the slot's number may be another after a loss
			named, fits = false, i.serial == t.info.Serial && (c.Token == "" || c.Token == i.label)
		}
		if fits {
			found = append(found, place{slot, i})
		} else if named {
			half = there[len(there)-1]
		}
	}
	switch {
	case len(found) == 1:
		return found[0].slot, found[0].info, nil
	case len(found) == 0 && half != "":
		return 0, tokenInfo{}, fmt.Errorf("%w: token %s is not all that is configured: %s", ErrConfig, half, c.wanted())
	case len(found) == 0:
		if len(there) == 0 {
			there = []string{"none"}
		}
		return 0, tokenInfo{}, fmt.Errorf("%w: %s; there is %s", ErrNoToken, c.wanted(), strings.Join(there, ", "))
	}
	return 0, tokenInfo{}, fmt.Errorf("%w: %d tokens are %s; name one by its serial number: %s", ErrConfig, len(found), c.wanted(), strings.Join(there, ", "))
}

// wanted says which token is configured.
func (c *Config) wanted() string {
	var by []string
	if c.Token != "" {
		by = append(by, fmt.Sprintf("label %q", c.Token))
	}
	if c.Serial != "" {
		by = append(by, "serial "+c.Serial)
	}
	if c.Slot != nil {
		by = append(by, fmt.Sprintf("slot %d", *c.Slot))
	}
	return strings.Join(by, ", ")
}

// connect finds the token, opens a session and logs in.
func (t *token) connect() (*line, tokenInfo, error) {
	t.module.calls.RLock()
	defer t.module.calls.RUnlock()
	slot, info, err := t.findSlot()
	if err != nil {
		return nil, info, err
	}
	anchor, err := t.api.OpenSession(slot)
	if err != nil {
		return nil, info, fmt.Errorf("C_OpenSession: %w", err)
	}
	if err := t.login(anchor, slot); err != nil {
		_ = t.api.CloseSession(anchor)
		return nil, info, err
	}
	return &line{slot: slot, anchor: anchor, keys: map[string]*key{}}, info, nil
}

func (t *token) login(anchor sessionHandle, slot uint) error {
	pin, err := t.cfg.PIN()
	if err != nil {
		return fmt.Errorf("reading the PIN: %w", err)
	}
	err = t.api.Login(anchor, pin)
	clear(pin)
	switch {
	case err == nil, is(err, ck.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case is(err, ck.CKR_PIN_INCORRECT, ck.CKR_PIN_INVALID, ck.CKR_PIN_LEN_RANGE, ck.CKR_PIN_EXPIRED, ck.CKR_PIN_LOCKED, ck.CKR_USER_PIN_NOT_INITIALIZED):
		return fmt.Errorf("%w: %w%s", ErrPIN, err, t.tries(slot))
	}
	return fmt.Errorf("C_Login: %w", err)
}

// tries says what the token tells of the tries that are left.
func (t *token) tries(slot uint) string {
	i, err := t.api.GetTokenInfo(slot)
	switch {
	case err != nil:
	case i.flags&ck.CKF_USER_PIN_LOCKED != 0:
		return "; the PIN is locked: the token's security officer must set a new one"
	case i.flags&ck.CKF_USER_PIN_FINAL_TRY != 0:
		return "; one try is left before the token locks the PIN"
	case i.flags&ck.CKF_USER_PIN_COUNT_LOW != 0:
		return "; the token counts wrong tries and locks the PIN after a few more"
	}
	return ""
}

// current is the line in use. After a loss it makes a new one, at once the
// first time and then after pauses that grow.
func (t *token) current() (*line, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, fmt.Errorf("PKCS #11 token: %w", hsm.ErrClosed)
	case t.refused != nil:
		return nil, t.refused
	case t.line != nil:
		return t.line, nil
	case time.Now().Before(t.after):
		return nil, fmt.Errorf("%w: %w; it is tried again in %v", ErrGone, t.last, time.Until(t.after).Round(time.Millisecond))
	}
	t.closeLine(t.lost)
	t.lost = nil
	l, _, err := t.connect()
	if err != nil && !errors.Is(err, ErrPIN) {
		t.module.restart(t.api)
		l, _, err = t.connect()
	}
	if errors.Is(err, ErrPIN) {
		// Trying again by itself would lock the token.
		t.refused = err
		return nil, err
	}
	if err != nil {
		t.after = time.Now().Add(min(firstPause<<min(t.failures, 16), maxPause))
		t.failures++
		t.last = err
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	t.line, t.failures = l, 0
	return l, nil
}

// drop gives up a line after a loss.
func (t *token) drop(l *line, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.line == l {
		t.line, t.lost, t.last = nil, l, why
	}
}

// closeLine closes the sessions of a line that nobody uses; on a line that was
// lost that fails, and it does not matter. The caller holds mu.
func (t *token) closeLine(l *line) {
	if l == nil {
		return
	}
	t.module.calls.RLock()
	defer t.module.calls.RUnlock()
	for _, s := range l.idle {
		_ = t.api.CloseSession(s.handle)
	}
	l.idle = nil
	_ = t.api.CloseSession(l.anchor)
}

// acquire takes a session of its own for the caller, who must not hold one.
func (t *token) acquire(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case t.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var err error
	for range 2 {
		var l *line
		if l, err = t.current(); err != nil {
			break
		}
		var s *session
		if s, err = t.take(l); err == nil {
			return s, nil
		}
		if !lost(err) {
			break
		}
		t.drop(l, err)
	}
	<-t.busy
	return nil, err
}

// take takes an idle session of a line or opens one. With the session comes
// module.calls, held for reading.
func (t *token) take(l *line) (*session, error) {
	t.module.calls.RLock()
	t.mu.Lock()
	if t.line != l {
		t.mu.Unlock()
		t.module.calls.RUnlock()
		return nil, ckr(ck.CKR_SESSION_CLOSED) // it was lost meanwhile
	}
	if n := len(l.idle); n > 0 {
		s := l.idle[n-1]
		l.idle = l.idle[:n-1]
		t.mu.Unlock()
		return s, nil
	}
	t.mu.Unlock()
	h, err := t.api.OpenSession(l.slot)
	if err != nil {
		t.module.calls.RUnlock()
		return nil, fmt.Errorf("C_OpenSession: %w", err)
	}
	return &session{token: t, line: l, handle: h}, nil
}

// release gives a session back. One whose last call failed is closed: a call
// that was begun may wait in it for its second half.
func (t *token) release(s *session, err error) {
	var e ckr
	if lost(err) {
		t.drop(s.line, err)
	}
	t.mu.Lock()
	keep := t.line == s.line && !t.closed && !s.tainted && !errors.As(err, &e)
	if keep {
		s.line.idle = append(s.line.idle, s)
	}
	t.mu.Unlock()
	if !keep {
		_ = t.api.CloseSession(s.handle)
	}
	t.module.calls.RUnlock()
	<-t.busy
}

// once runs f in a session.
func (t *token) once(ctx context.Context, f func(*session) error) error {
	s, err := t.acquire(ctx)
	if err != nil {
		return gone(err)
	}
	err = f(s)
	t.release(s, err)
	return gone(err)
}

// do runs f, which may run twice without harm, in a session, and in another
// one if the token was lost meanwhile.
func (t *token) do(ctx context.Context, f func(*session) error) error {
	err := t.once(ctx, f)
	if lost(err) {
		err = t.once(ctx, f)
	}
	return err
}

// gone gives a loss the name that callers know.
func gone(err error) error {
	if lost(err) && !errors.Is(err, ErrGone) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// find finds all objects that match. A session whose login was lost finds
// nothing private, without an error: so we look whether it is still logged in.
func (s *session) find(template ...attribute) ([]objectHandle, error) {
	if err := s.api.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("C_FindObjectsInit: %w", err)
	}
	var all []objectHandle
	for {
		some, err := s.api.FindObjects(s.handle, 256)
		if err != nil {
			return nil, fmt.Errorf("C_FindObjects: %w", err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := s.api.FindObjectsFinal(s.handle); err != nil {
		return nil, fmt.Errorf("C_FindObjectsFinal: %w", err)
	}
	return all, s.loggedIn()
}

// loggedIn looks whether the session is logged in, and was since it was taken.
func (s *session) loggedIn() error {
	state, err := s.api.GetSessionInfo(s.handle)
	if err != nil {
		return fmt.Errorf("C_GetSessionInfo: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != ck.CKS_RW_USER_FUNCTIONS || s.token.line != s.line {
		return fmt.Errorf("session is in state %d, want %d: %w", state, ck.CKS_RW_USER_FUNCTIONS, ckr(ck.CKR_USER_NOT_LOGGED_IN))
	}
	return nil
}

// read reads attributes of an object, all of which it must have.
func (s *session) read(o objectHandle, kinds ...uint) ([][]byte, error) {
	values, err := s.api.GetAttributeValue(s.handle, o, kinds...)
	if err != nil {
		return nil, fmt.Errorf("C_GetAttributeValue: %w", err)
	}
	return values, nil
}

// discard destroys an object of the session; where it cannot, the session is
// closed, and the object goes with it.
func (s *session) discard(o ...objectHandle) {
	for _, o := range o {
		if o != 0 && s.api.DestroyObject(s.handle, o) != nil {
			s.tainted = true
		}
	}
}

// mech is the mechanism that does a job.
func (s *session) mech(job string) mechanism { return mechanism{number: s.table[job]} }

func (t *token) has(job string) bool { return t.table[job] != absent }

// cached is a key that was looked up in this line.
func (s *session) cached(id string) *key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.keys[id]
}

func (s *session) remember(k *key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line.keys[k.ID] = k
}

// forget drops a key in every line.
func (t *token) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range []*line{t.line, t.lost} {
		if l != nil {
			delete(l.keys, id)
		}
	}
}
