package pcsc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"ankan/uicc"
)

// A Reader is one reader of the PC/SC daemon. As a uicc.Card it is the card in
// it. One goroutine at a time uses it.
//
// When a context ends while an answer is out the Reader is of no more use:
// every later call gives that error. A wait for a card may end at any time.
type Reader struct {
	conn    *conn
	name    string
	context uint32
	card    uint32 // handle, if connected
	share   Share  // of the card, if connected
	active  uint32 // protocol in use: 1 for T=0, 2 for T=1
	atr     uicc.ATR
}

var _ uicc.Card = (*Reader)(nil)

// Open connects to the daemon and finds the reader with this name, or the only
// one whose name begins so; "" is the only reader there is. It does not ask
// for a card. UnknownReader, NoReaders, NoService.
func Open(ctx context.Context, name string) (*Reader, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{conn: c}
	if err := r.open(ctx, name); err != nil {
		c.net.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context, name string) error {
	all, err := r.conn.states(ctx)
	if err != nil {
		return err
	}
	if r.name, err = pick(all, name); err != nil {
		return err
	}
	b, err := r.conn.call(ctx, cmdEstablish, words(2, 0, 0), 12) // scope: system
	if err != nil {
		return err
	}
	r.context = word(b, 1)
	return r.fault(word(b, 2))
}

// pick finds a reader by its name or the beginning of it.
func pick(all []State, name string) (string, error) {
	var names, found []string
	for _, s := range all {
		if s.Reader == name {
			return name, nil
		}
		names = append(names, fmt.Sprintf("%q", s.Reader))
		if strings.HasPrefix(s.Reader, name) {
			found = append(found, s.Reader)
		}
	}
	switch {
	case len(all) == 0:
		return "", NoReaders
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1 && name == "":
		return "", fmt.Errorf("there are %d readers; name one of %s", len(found), strings.Join(names, ", "))
	case len(found) > 1:
		return "", fmt.Errorf("reader %q is not one but %d; name one of %s", name, len(found), strings.Join(names, ", "))
	}
	return "", fmt.Errorf("reader %q: %w: %s", name, UnknownReader, strings.Join(names, ", "))
}

// fault is the error of a return code, with the reader's name.
func (r *Reader) fault(rv uint32) error {
	if rv == 0 {
		return nil
	}
	return fmt.Errorf("reader %s: %w", r.name, Code(rv))
}

// Name is the reader's whole name.
func (r *Reader) Name() string { return r.name }

// ATR is the answer to reset of the card that is connected; nil without one.
func (r *Reader) ATR() uicc.ATR { return r.atr }

// Close gives the reader up. A card that is connected is left as it is.
func (r *Reader) Close() error {
	if r.conn.broken == nil {
		r.conn.broken = net.ErrClosed
	}
	return r.conn.net.Close()
}

// State says what is in the reader. ReaderUnavailable if it is gone.
func (r *Reader) State(ctx context.Context) (State, error) {
	all, err := r.conn.states(ctx)
	if err != nil {
		return State{}, err
	}
	return r.own(all)
}

func (r *Reader) own(all []State) (State, error) {
	for _, s := range all {
		if s.Reader == r.name {
			return s, nil
		}
	}
	return State{}, r.fault(uint32(ReaderUnavailable))
}

// WaitInserted waits until a card is in the reader, and returns at once if one
// is.
func (r *Reader) WaitInserted(ctx context.Context) (State, error) {
	return r.await(ctx, "waiting for a card", func(s State) bool { return s.Present })
}

// WaitRemoved waits until the card that is in the reader now was taken out, and
// returns at once if there is none. Another card may be in the reader since.
func (r *Reader) WaitRemoved(ctx context.Context) (State, error) {
	before, err := r.State(ctx)
	if err != nil {
		return before, err
	}
	return r.await(ctx, "waiting for the card to be taken out", func(s State) bool { return !s.Present || s.Events != before.Events })
}

func (r *Reader) await(ctx context.Context, what string, until func(State) bool) (s State, err error) {
	err = r.conn.wait(ctx, func(all []State) (bool, error) {
		var err error
		s, err = r.own(all)
		return err == nil && until(s), err
	})
	if err != nil {
		err = fmt.Errorf("reader %s: %s: %w", r.name, what, err)
	}
	return s, err
}

// Share says whether other programs may use the card as well.
type Share uint32

// The ways to share a card.
const (
	Exclusive Share = 1
	Shared    Share = 2
)

// anyProtocol asks for T=0 or T=1, whichever the card offers first.
const anyProtocol = 3

// Connect gives the card power, if it has none, and takes it. NoSmartcard,
// SharingViolation, UnresponsiveCard.
func (r *Reader) Connect(ctx context.Context, share Share) (uicc.ATR, error) {
	if r.card != 0 {
		return nil, fmt.Errorf("reader %s: a card is connected already; disconnect it first", r.name)
	}
	if len(r.name) >= nameSize {
		return nil, fmt.Errorf("reader %q: name of %d bytes, want at most %d", r.name, len(r.name), nameSize-1)
	}
	var name [nameSize]byte
	copy(name[:], r.name)
	body := append(words(r.context), name[:]...)
	body = append(body, words(uint32(share), anyProtocol, 0, 0, 0)...)
	b, err := r.conn.call(ctx, cmdConnect, body, len(body))
	if err != nil {
		return nil, err
	}
	b = b[4+nameSize:]
	if err := r.fault(word(b, 4)); err != nil {
		return nil, err
	}
	r.card, r.active, r.share = word(b, 2), word(b, 3), share
	return r.readATR(ctx)
}

func (r *Reader) readATR(ctx context.Context) (uicc.ATR, error) {
	s, err := r.State(ctx)
	if err != nil {
		return nil, err
	}
	r.atr = s.ATR
	return s.ATR, nil
}

// A Disposition is what becomes of the card when it is let go.
type Disposition uint32

// What may become of a card. Warm and Unpower are also the two ways to reset it.
const (
	Leave   Disposition = 0
	Warm    Disposition = 1 // reset it with the power on
	Unpower Disposition = 2 // take the power away: what follows is a cold reset
	Eject   Disposition = 3 // as far as the reader can
)

// Disconnect lets the card go; without one it does nothing.
func (r *Reader) Disconnect(ctx context.Context, d Disposition) error {
	if r.card == 0 {
		return nil
	}
	b, err := r.conn.call(ctx, cmdDisconnect, words(r.card, uint32(d), 0), 12)
	r.card, r.atr = 0, nil
	if err != nil {
		return err
	}
	return r.fault(word(b, 2))
}

// Reset resets the card that is connected, Warm or Unpower (cold), and returns
// its answer to reset. UnresponsiveCard if there is none.
func (r *Reader) Reset(ctx context.Context, how Disposition) (uicc.ATR, error) {
	if err := r.connected(); err != nil {
		return nil, err
	}
	b, err := r.conn.call(ctx, cmdReconnect, words(r.card, uint32(r.share), anyProtocol, uint32(how), 0, 0), 24)
	if err != nil {
		return nil, err
	}
	if err := r.fault(word(b, 5)); err != nil {
		return nil, err
	}
	r.active = word(b, 4)
	return r.readATR(ctx)
}

func (r *Reader) connected() error {
	if r.card == 0 {
		return fmt.Errorf("reader %s: no card is connected; connect first", r.name)
	}
	return nil
}

// on does a command whose structure is the card's handle, numbers, and the
// return code at the end. It returns the answer.
func (r *Reader) on(ctx context.Context, cmd command, numbers ...uint32) error {
	if err := r.connected(); err != nil {
		return err
	}
	body := words(append(append([]uint32{r.card}, numbers...), 0)...)
	b, err := r.conn.call(ctx, cmd, body, len(body))
	if err != nil {
		return err
	}
	return r.fault(word(b, len(b)/4-1))
}

// Check asks whether the card is still the one that was connected: ResetCard,
// RemovedCard if not.
func (r *Reader) Check(ctx context.Context) error { return r.on(ctx, cmdStatus) }

// Begin begins a transaction: until End no other program reaches the card.
func (r *Reader) Begin(ctx context.Context) error { return r.on(ctx, cmdBegin) }

// End ends a transaction.
func (r *Reader) End(ctx context.Context, d Disposition) error {
	return r.on(ctx, cmdEnd, uint32(d))
}

// maxAnswer is the longest answer to a command in short form, in bytes.
const maxAnswer = 258

// Transmit implements uicc.Card. NotTransacted if the card gives no answer,
// RemovedCard if it is gone. Over T=0 the Le of a command with data is not sent
// (ISO/IEC 7816-3, 12.2.1): the card says 61xx.
func (r *Reader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if len(cmd) < 4 || len(cmd) > 261 {
		return nil, fmt.Errorf("reader %s: command of %d bytes, want 4..261", r.name, len(cmd))
	}
	if err := r.connected(); err != nil {
		return nil, err
	}
	if n := len(cmd); r.active == 1 && n > 5 && cmd[4] > 0 && n == 6+int(cmd[4]) {
		cmd = cmd[:n-1]
	}
	const pci = 16 // length of a protocol's header on a 64-bit machine
	b, err := r.conn.call(ctx, cmdTransmit, words(r.card, r.active, pci, uint32(len(cmd)), 0, pci, maxAnswer, 0), 32, cmd...)
	if err != nil {
		return nil, err
	}
	return r.tail(ctx, word(b, 7), word(b, 6), maxAnswer)
}

// tail reads what follows a structure that holds a return code and a length.
func (r *Reader) tail(ctx context.Context, rv, n, most uint32) ([]byte, error) {
	if err := r.fault(rv); err != nil {
		return nil, err
	}
	if n > most {
		r.conn.close(fmt.Errorf("PC/SC daemon: answer of %d bytes, want at most %d", n, most))
		return nil, r.conn.broken
	}
	return r.conn.read(ctx, int(n))
}

// Control sends a message to the reader's driver and returns its answer, at
// most 4,096 bytes each. UnsupportedFeature.
func (r *Reader) Control(ctx context.Context, code uint32, data []byte) ([]byte, error) {
	if len(data) > maxControl {
		return nil, fmt.Errorf("reader %s: message of %d bytes, want at most %d", r.name, len(data), maxControl)
	}
	if err := r.connected(); err != nil {
		return nil, err
	}
	b, err := r.conn.call(ctx, cmdControl, words(r.card, code, uint32(len(data)), maxControl, 0, 0), 24, data...)
	if err != nil {
		return nil, err
	}
	return r.tail(ctx, word(b, 5), word(b, 4), maxControl)
}

// Attributes of a reader (PC/SC part 3, 3.1.4).
const (
	AttributeVendor uint32 = 0x00010100
	AttributeSerial uint32 = 0x00010103 // of the reader, where it has one
	AttributeATR    uint32 = 0x00090303
)

// Attribute reads an attribute of the reader. UnsupportedFeature, InvalidValue.
func (r *Reader) Attribute(ctx context.Context, id uint32) ([]byte, error) {
	if err := r.connected(); err != nil {
		return nil, err
	}
	body := append(words(r.card, id), make([]byte, attrSize)...)
	body = append(body, words(attrSize, 0)...)
	b, err := r.conn.call(ctx, cmdAttribute, body, len(body))
	if err != nil {
		return nil, err
	}
	end := b[8+attrSize:]
	n, rv := word(end, 0), word(end, 1)
	if err := r.fault(rv); err != nil {
		return nil, err
	}
	if n > attrSize {
		r.conn.close(fmt.Errorf("PC/SC daemon: attribute of %d bytes, want at most %d", n, attrSize))
		return nil, r.conn.broken
	}
	return b[8 : 8+n], nil
}

// Mute reports whether an error says that the card gives no answer.
func Mute(err error) bool {
	return errors.Is(err, UnresponsiveCard) || errors.Is(err, NotTransacted) || errors.Is(err, UnpoweredCard)
}
