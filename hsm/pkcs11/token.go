package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
	"ankan/hsm/internal/secret"
)

// Errors that callers branch on, besides those of package hsm.
var (
	ErrConfig  = errors.New("configuration of the PKCS #11 token")
	ErrNoToken = errors.New("no such token")
	ErrPIN     = errors.New("the token does not take the PIN; it is not tried again")
	ErrGone    = errors.New("the token is gone")
)

// A Token is a security module behind PKCS #11. It implements hsm.Module. It
// cannot be printed, marshalled or compared. The zero value refuses everything
// with hsm.ErrClosed.
type Token struct {
	unprintable
	state secret.Hidden[token]
}

type unprintable = secret.Unprintable

// Open loads the library, finds the token, logs in, asks whether the token has
// the mechanisms, and ends what a crash interrupted. Errors that it wraps:
// ErrConfig, ErrNoToken, ErrPIN; an error of the library that does not load.
//
// Several processes may have one token open. If another part of this process
// is logged in already, the library does not look at the PIN.
func Open(ctx context.Context, c Config) (*Token, error) {
	return open(ctx, c, func(api cryptoki) cryptoki { return api })
}

// open lets tests stand between the package and the library.
func open(ctx context.Context, c Config, between func(cryptoki) cryptoki) (*Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	table, err := c.table()
	if err != nil {
		return nil, err
	}
	m, err := join(c.Module)
	if err != nil {
		return nil, err
	}
	t := &token{
		cfg: c, table: table, module: m, api: between(m.api),
		pending: map[string]bool{}, patience: 30 * time.Second,
	}
	if err := t.begin(ctx); err != nil {
		return nil, errors.Join(err, t.end())
	}
	return &Token{state: secret.Hide(t)}, nil
}

func (t *token) begin(ctx context.Context) error {
	l, info, err := t.connect()
	if err != nil {
		return fmt.Errorf("PKCS #11 library %s: %w", t.cfg.Module, err)
	}
	t.line = l
	n := t.cfg.sessions()
	if most := info.sessions; most > 1 && most != ^uint(0) {
		n = min(n, int(most)-1) // one is the anchor
	}
	t.busy = make(chan struct{}, n)
	t.info = hsm.Info{Model: info.model, Slot: strconv.FormatUint(uint64(l.slot), 10), Serial: info.serial, Firmware: info.firmware}
	t.info.Certificate, t.info.Certified = t.cfg.certificate(info)
	if err := t.mechanisms(l.slot); err != nil {
		return err
	}
	t.module.change.Lock()
	defer t.module.change.Unlock()
	return t.do(ctx, func(s *session) error { return s.finish() })
}

// mechanisms refuses a token that lacks one.
func (t *token) mechanisms(slot uint) error {
	all := jobs()
	for _, name := range Jobs() {
		m, j := t.table[name], all[name]
		if m == absent {
			continue
		}
		has, err := t.api.GetMechanismInfo(slot, m)
		if err != nil && !is(err, ck.CKR_MECHANISM_INVALID) {
			return fmt.Errorf("C_GetMechanismInfo: %w", err)
		}
		if err != nil || has&j.flags != j.flags {
			if _, named := t.cfg.Mechanisms[name]; j.old && !named {
				t.table[name] = absent
				continue
			}
			hint := "configure one that it has"
			if j.optional {
				hint += `, or "none"`
			}
			return fmt.Errorf("%w: token %q does not do %q by mechanism 0x%X; %s", ErrConfig, t.info.Model, name, m, hint)
		}
	}
	return nil
}

// end closes the sessions and leaves the library.
func (t *token) end() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	for range cap(t.busy) { // what runs ends well
		t.busy <- struct{}{}
	}
	for range cap(t.busy) { // what waits is refused
		<-t.busy
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeLine(t.line)
	t.closeLine(t.lost)
	t.line, t.lost = nil, nil
	return t.module.leave()
}

// Close logs out and lets go of the library, when what is running has ended.
// Everything later is refused with hsm.ErrClosed.
func (t *Token) Close() error {
	s := t.token()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	return s.end()
}

func (t *Token) token() *token {
	if t == nil {
		return nil
	}
	return t.state.Get()
}

// open refuses a token that is none; one that is closed refuses in acquire.
func (t *Token) open() (*token, error) {
	s := t.token()
	if s == nil {
		return nil, fmt.Errorf("PKCS #11 token: %w", hsm.ErrClosed)
	}
	return s, nil
}

// Info implements hsm.Token. The zero value is certified by nobody.
func (t *Token) Info() hsm.Info {
	s := t.token()
	if s == nil {
		return hsm.Info{Model: "PKCS #11 token", Certificate: "not certified: the token is not open"}
	}
	return s.info
}

// Check implements hsm.Token: a session is logged in, and the token draws a
// few random bytes.
func (t *Token) Check(ctx context.Context) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	return s.do(ctx, func(s *session) error {
		if err := s.loggedIn(); err != nil {
			return err
		}
		return s.random(make([]byte, 16))
	})
}

// Random implements hsm.Token.
func (t *Token) Random(p []byte) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	return s.do(context.Background(), func(s *session) error { return s.random(p) })
}

func (s *session) random(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), chunk)
		b, err := s.api.GenerateRandom(s.handle, n)
		if err != nil {
			return fmt.Errorf("C_GenerateRandom: %w", err)
		}
		if len(b) != n {
			return fmt.Errorf("C_GenerateRandom gave %d bytes, want %d", len(b), n)
		}
		copy(p, b)
		clear(b)
		p = p[n:]
	}
	return nil
}
