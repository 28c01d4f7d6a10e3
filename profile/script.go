package profile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ankan/aka"
	"ankan/scp"
	"ankan/sim"
	"ankan/uicc"
)

// A Script makes cards of one profile. Making one is copying bytes, patching
// in what the card's record holds, and sending. It is not changed by that: any
// number of goroutines may use it at the same time.
type Script struct {
	name   string
	digest [32]byte
	layout Layout
	aka    aka.Parameters
	scp03  KeySet
	codes  []Code
	home   sim.PLMN // that derived names hold; zero: there are none
	bytes  []byte   // command templates and expected contents
	steps  []step
	looks  []look
	unread []Unread

	registry []Listing
	content  int // bytes
}

// A step is a command of the writing part.
type step struct {
	name    string
	cmd     span
	patches []patch
	answer  int     // bytes of data in the answer; PUT KEY's are its own
	put     *putKey // instead of cmd: the keys are sealed one by one
}

type putKey struct {
	version, replaces byte
	first, n          int // in the record: three keys of n bytes each
}

// A patch is a place in a command or content that comes from the record.
type patch struct {
	op   op
	at   int // bytes from the start of what is patched
	slot int // bytes from the start of the record
	with int // opSeal: the second part, -1 for FF
	n    int // bytes at that place; of the first part for opSeal
	more int // opSeal: bytes of the second part
}

type op uint8

const (
	opCopy   op = iota // the slot as it is
	opMSISDN           // ASCII digits to an address field
	opDigits           // the content of EF.IMSI to ASCII digits
	opSeal             // both parts under the data encryption key
)

// A look is a command of the reading part.
type look struct {
	kind      lookKind
	name      string // of the command, or the file's path
	record    int    // record number, 0 for a transparent file
	offset    int    // of want in the file
	cmd, want span
	patches   []patch
	reference byte // lookVerify
	slot      int
}

type lookKind uint8

const (
	lookSelect lookKind = iota
	lookVerify
	lookRead
)

// Errors of records and of cards.
var (
	ErrRecord = errors.New("card record does not fit the profile")
	ErrTries  = errors.New("fewer than two tries are left")
)

// A StepError is a command that the card did not take, or did not answer.
type StepError struct {
	Step int     // from 1; steps of the reading part count on their own
	Name string  // "UPDATE RECORD MF/ADF.USIM/EF.ECC 2"
	SW   uicc.SW // 0 if no answer came
	Err  error   // what happened if it was not the status word
}

// Error names the step and what the card said.
func (e *StepError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("step %d, %s: %v", e.Step, e.Name, e.Err)
	}
	return fmt.Sprintf("step %d, %s: card answers %v", e.Step, e.Name, e.SW)
}

// Unwrap is Err, or the status word.
func (e *StepError) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.SW
}

// A Mismatch is a place where a card does not hold what it should.
type Mismatch struct {
	File   string // path under the MF
	Record int    // from 1; 0 for a transparent file
	Offset int    // bytes from the start of the file or record
}

// Error says where, never what: files may hold what is nobody's business.
func (e *Mismatch) Error() string {
	if e.Record > 0 {
		return fmt.Sprintf("%s, record %d, byte %d is not what was written", e.File, e.Record, e.Offset)
	}
	return fmt.Sprintf("%s, byte %d is not what was written", e.File, e.Offset)
}

// Unread is a file that ReadBack does not read, and why.
type Unread struct{ File, Reason string }

// Unread is the files whose content ReadBack cannot prove.
func (s *Script) Unread() []Unread { return append([]Unread(nil), s.unread...) }

// Layout is where the slots lie in a card's record.
func (s *Script) Layout() *Layout {
	l := s.layout
	return &l
}

// Authentication is the algorithm of the USIM and its parameters.
func (s *Script) Authentication() aka.Parameters { return s.aka }

// Digest is the profile's digest.
func (s *Script) Digest() [32]byte { return s.digest }

// A Step is a step of the writing part for people: what differs from card to
// card is zeros in it.
type Step struct {
	Name    string
	Command []byte
}

// Steps lists the writing part.
func (s *Script) Steps() []Step {
	var all []Step
	for _, x := range s.steps {
		if x.put == nil {
			all = append(all, Step{x.name, append([]byte(nil), s.bytes[x.cmd.from:x.cmd.to]...)})
			continue
		}
		data := make([]byte, 1+3*(3+x.put.n+4))
		cmd := uicc.Command{CLA: 0x80, INS: uicc.INSPutKey, P1: x.put.replaces, P2: 0x81, Data: data, Le: 256}
		all = append(all, Step{x.name, cmd.Append(nil)})
	}
	return all
}

// Wire is what crosses the contacts to write one card, inside SCP03 at this
// level with MACs of 8 bytes; level 0 means in the clear. The opening of the
// channel and the operating system are not counted.
func (s *Script) Wire(level scp.Level) uicc.Wire {
	var w uicc.Wire
	for i, x := range s.Steps() {
		cmd, err := uicc.ParseCommand(x.Command)
		if err != nil {
			panic(err) // Append made it
		}
		answer := s.steps[i].answer
		if s.steps[i].put != nil {
			answer = 1 + 3*3
		}
		n := len(cmd.Data)
		if level&scp.CDEC != 0 && n > 0 {
			n += 16 - n%16
		}
		if level&scp.CMAC != 0 {
			n += 8
		}
		if level&scp.RENC != 0 && answer > 0 {
			answer += 16 - answer%16
		}
		if level&scp.RMAC != 0 {
			answer += 8
		}
		cmd.Data = make([]byte, n)
		w.Count(cmd.Append(nil), answer)
	}
	return w
}

// Content is how many bytes the profile says of a card's files: what each one is
// (its FCP) and what is in it. Wire is measured by it.
func (s *Script) Content() int { return s.content }

// NewKeys is the card's own SCP03 keys, in force from the next reset after
// Write. The caller closes them.
func (s *Script) NewKeys(record []byte) (scp.KeySet, error) {
	if len(record) != s.layout.Size {
		return scp.KeySet{}, fmt.Errorf("%w: %d bytes, want %d", ErrRecord, len(record), s.layout.Size)
	}
	return scp.NewKeySet(s.layout.Of(record, SlotSCP03ENC), s.layout.Of(record, SlotSCP03MAC), s.layout.Of(record, SlotSCP03DEK))
}

// check refuses a record that cannot be a card of this profile: bytes at the
// wrong place would become a card that nobody can repair.
func (s *Script) check(record []byte) error {
	if len(record) != s.layout.Size {
		return fmt.Errorf("%w: %d bytes, want %d", ErrRecord, len(record), s.layout.Size)
	}
	if _, err := sim.ICCIDFromEF([10]byte(s.layout.Of(record, SlotICCID))); err != nil {
		return fmt.Errorf("%w: slot ICCID is not the content of EF_ICCID", ErrRecord)
	}
	imsi, err := sim.IMSIFromEF([9]byte(s.layout.Of(record, SlotIMSI)))
	if err != nil {
		return fmt.Errorf("%w: slot IMSI is not the content of EF_IMSI", ErrRecord)
	}
	if !s.home.IsZero() {
		if p, err := imsi.PLMN(s.home.MNCDigits()); err != nil || p != s.home {
			return fmt.Errorf("%w: slot IMSI is of another network than %s, which the names derived from it say", ErrRecord, s.home)
		}
	}
	acc := s.layout.Of(record, SlotACC)
	if uint16(acc[0])<<8|uint16(acc[1]) != imsi.ACC() {
		return fmt.Errorf("%w: slot ACC is not the access class of the IMSI", ErrRecord)
	}
	return nil
}

// KeepKeys is the script without its PUT KEYs, for test cards that keep the
// chip maker's keys: whoever knows those owns such a card.
func (s *Script) KeepKeys() *Script {
	c := *s
	c.steps = slices.DeleteFunc(slices.Clone(s.steps), func(x step) bool { return x.put != nil })
	return &c
}

// Write makes a card: it sends the writing part over card, an open secure
// channel whose static keys are dek, with what record holds. The card is not
// secured and keeps its old keys until the last step was taken; it may be
// written again from the start after any failure. Errors are *StepError and
// ErrRecord.
func (s *Script) Write(ctx context.Context, card uicc.Card, dek scp.Sealer, record []byte) error {
	if err := s.check(record); err != nil {
		return err
	}
	buf := make([]byte, 0, 272)
	defer func() { clear(buf[:cap(buf)]) }()
	for i := range s.steps {
		x := &s.steps[i]
		cmd, err := s.command(buf, x, dek, record)
		if err != nil {
			return stepError(i, x.name, err)
		}
		answer, err := card.Transmit(ctx, cmd)
		if err != nil {
			return stepError(i, x.name, err)
		}
		if err := s.written(x, answer, record); err != nil {
			return stepError(i, x.name, err)
		}
	}
	return nil
}

// AddWrite adds the writing part to a burst, each command as wrap gives it:
// that of a secure channel whose static keys are dek. Errors are as Write's.
func (s *Script) AddWrite(b *uicc.Burst, wrap func(dst, cmd []byte) ([]byte, error), dek scp.Sealer, record []byte) error {
	if err := s.check(record); err != nil {
		return err
	}
	buf := make([]byte, 0, 272)
	defer func() { clear(buf[:cap(buf)]) }()
	for i := range s.steps {
		x := &s.steps[i]
		w := uicc.WantOK
		if x.put == nil {
			w = want(s.bytes[x.cmd.from:x.cmd.to])
		}
		err := b.Add(w, func(dst []byte) ([]byte, error) {
			cmd, err := s.command(buf, x, dek, record)
			if err != nil {
				return nil, err
			}
			return wrap(dst, cmd)
		})
		if err != nil {
			return stepError(i, x.name, err)
		}
	}
	return nil
}

// Wrote judges the answers to what AddWrite added. Errors are as Write's.
func (s *Script) Wrote(a *uicc.Answers, record []byte) error {
	for i := range s.steps {
		x := &s.steps[i]
		answer, ok := a.Next()
		if !ok {
			return stepError(i, x.name, errNoAnswer)
		}
		if err := s.written(x, answer, record); err != nil {
			return stepError(i, x.name, err)
		}
	}
	return nil
}

// errNoAnswer is what a burst that ended before its time comes to.
var errNoAnswer = errors.New("the card was not asked, or did not answer")

// command makes a step's command in buf.
func (s *Script) command(buf []byte, x *step, dek scp.Sealer, record []byte) ([]byte, error) {
	if p := x.put; p != nil {
		cmd := append(buf[:0], 0x80, uicc.INSPutKey, p.replaces, 0x81, 0)
		keys := p.keys(record)
		cmd, err := scp.PutKey(cmd, dek, p.version, keys[:])
		if err != nil {
			return nil, err
		}
		cmd[4] = byte(len(cmd) - 5)
		return append(cmd, 0), nil
	}
	cmd := append(buf[:0], s.bytes[x.cmd.from:x.cmd.to]...)
	if len(x.patches) == 0 {
		return cmd, nil
	}
	return cmd, apply(cmd[5:], x.patches, record, dek)
}

func (p *putKey) keys(record []byte) (keys [3][]byte) {
	for i := range keys {
		at := p.first + i*p.n
		keys[i] = record[at : at+p.n : at+p.n]
	}
	return keys
}

// written judges the answer to a step: the status word, and of PUT KEY the
// receipt, whose check values prove that the card opened the keys that were
// meant.
func (s *Script) written(x *step, answer, record []byte) error {
	if err := ok(answer); err != nil {
		return err
	}
	if x.put == nil {
		return nil
	}
	keys := x.put.keys(record)
	receipt, err := scp.PutKeyReceipt(nil, x.put.version, keys[:])
	if err != nil {
		return err
	}
	if string(uicc.Response(answer).Data()) != string(receipt) {
		return errors.New("the card's receipt has other check values than the keys")
	}
	return nil
}

// ok is the answer's status word unless all is well, or a data object goes on in
// the next command (TS 102 221, 11.3).
func ok(answer []byte) error {
	if len(answer) < 2 {
		return fmt.Errorf("answer of %d bytes, want a status word", len(answer))
	}
	if sw := uicc.Response(answer).SW(); !uicc.WantMore.Met(sw) {
		return sw
	}
	return nil
}

// want is the answer after which the next command may follow.
func want(cmd []byte) uicc.Want {
	if cmd[0] == 0x80 && (cmd[1] == uicc.INSSetData || cmd[1] == uicc.INSRetrieveData) {
		return uicc.WantMore
	}
	return uicc.WantOK
}

func stepError(i int, name string, err error) error {
	if sw, ok := err.(uicc.SW); ok {
		return &StepError{Step: i + 1, Name: name, SW: sw}
	}
	return &StepError{Step: i + 1, Name: name, Err: err}
}

// apply puts into b what the record holds. Patches may begin before b or end
// behind it, in a content that is read in pieces.
func apply(b []byte, patches []patch, record []byte, dek scp.Sealer) error {
	for _, p := range patches {
		switch p.op {
		case opCopy:
			place(b, p.at, record[p.slot:p.slot+p.n])
		case opMSISDN:
			var field [12]byte
			if !address(&field, record[p.slot:p.slot+15]) {
				return fmt.Errorf("%w: slot MSISDN is not digits padded with FF", ErrRecord)
			}
			place(b, p.at, field[:])
		case opDigits:
			imsi, err := sim.IMSIFromEF([9]byte(record[p.slot : p.slot+9]))
			if err != nil {
				return fmt.Errorf("%w: slot IMSI is not the content of EF_IMSI", ErrRecord)
			}
			var digits [15]byte
			place(b, p.at, imsi.Append(digits[:0]))
		case opSeal:
			var parts [64]byte // K of 32 bytes and TOPc
			both := append(parts[:0], record[p.slot:p.slot+p.n]...)
			switch {
			case p.with >= 0:
				both = append(both, record[p.with:p.with+p.more]...)
			default:
				both = append(both, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"[:p.more]...)
			}
			sealed, err := dek.SealKey(b[:p.at], both)
			clear(parts[:])
			if err != nil {
				return err
			}
			if len(sealed) != p.at+len(both) {
				return fmt.Errorf("sealed key has %d bytes, want %d", len(sealed)-p.at, len(both))
			}
			copy(b[p.at:], sealed[p.at:])
		}
	}
	return nil
}

// place copies src to b from at on, at being negative if src begins before b.
func place(b []byte, at int, src []byte) {
	if at < 0 {
		src, at = src[min(-at, len(src)):], 0
	}
	copy(b[at:], src)
}

// address codes a number of the MSISDN slot as a record of EF.MSISDN holds it:
// length, type of number, swapped digits (TS 31.102, 4.2.26).
func address(field *[12]byte, digits []byte) bool {
	for i := range field {
		field[i] = 0xFF
	}
	n := len(digits)
	for n > 0 && digits[n-1] == 0xFF {
		n--
	}
	if n == 0 {
		return true
	}
	field[0], field[1] = byte(1+(n+1)/2), 0x91
	for i, c := range digits[:n] {
		if c < '0' || c > '9' {
			return false
		}
		d := &field[2+i/2]
		if i%2 == 0 {
			*d = 0xF0 | (c - '0')
		} else {
			*d = *d&0x0F | (c-'0')<<4
		}
	}
	return true
}

// ReadBack reads a card that was reset after Write, in the clear, and compares
// every file that can be read with what the record says. It presents PIN1 and
// ADM1 only when files need them, and never when fewer than two tries remain
// (ErrTries). Errors are *Mismatch, *StepError and ErrRecord.
func (s *Script) ReadBack(ctx context.Context, card uicc.Card, record []byte) error {
	if err := s.check(record); err != nil {
		return err
	}
	buf := make([]byte, 0, 2*272)
	defer func() { clear(buf[:cap(buf)]) }()
	for i := range s.looks {
		x := &s.looks[i]
		for tries := x.kind == lookVerify; ; tries = false {
			// Over T=0 what was asked for with data waits for GET RESPONSE.
			answer, sw, err := uicc.Exchange(ctx, card, s.look(buf, x, record, tries), nil)
			if err == nil {
				err = s.seen(buf, x, append(answer, byte(sw>>8), byte(sw)), record, tries)
			}
			if err != nil {
				return lookError(i, x.name, err)
			}
			if !tries {
				break
			}
		}
	}
	return nil
}

// AddReadBack adds the reading part to a burst for a card that was reset. The
// burst ends before a code is presented of which fewer than two tries remain.
func (s *Script) AddReadBack(b *uicc.Burst, record []byte) error {
	if err := s.check(record); err != nil {
		return err
	}
	for i := range s.looks {
		x := &s.looks[i]
		for tries := x.kind == lookVerify; ; tries = false {
			w := uicc.WantOK
			switch {
			case tries:
				w = uicc.WantTries
			case x.kind == lookRead:
				w = want(s.bytes[x.cmd.from:x.cmd.to])
			}
			if err := b.Add(w, func(dst []byte) ([]byte, error) { return append(dst, s.look(dst[len(dst):], x, record, tries)...), nil }); err != nil {
				return lookError(i, x.name, err)
			}
			if !tries {
				break
			}
		}
	}
	return nil
}

// ReadOf judges the answers to what AddReadBack added. Errors are as ReadBack's.
func (s *Script) ReadOf(a *uicc.Answers, record []byte) error {
	buf := make([]byte, 0, 272)
	defer func() { clear(buf[:cap(buf)]) }()
	for i := range s.looks {
		x := &s.looks[i]
		for tries := x.kind == lookVerify; ; tries = false {
			answer, there := a.Next()
			if !there {
				return stepError(i, x.name, errNoAnswer)
			}
			if err := s.seen(buf, x, answer, record, tries); err != nil {
				return lookError(i, x.name, err)
			}
			if !tries {
				break
			}
		}
	}
	return nil
}

func lookError(i int, name string, err error) error {
	if m, ok := err.(*Mismatch); ok {
		return m
	}
	return stepError(i, name, err)
}

// look is a command of the reading part. With tries it asks how many a code
// has left.
func (s *Script) look(buf []byte, x *look, record []byte, tries bool) []byte {
	switch {
	case tries:
		return append(buf[:0], 0x00, uicc.INSVerify, 0x00, x.reference)
	case x.kind == lookVerify:
		cmd := append(buf[:0], 0x00, uicc.INSVerify, 0x00, x.reference, 0x08)
		return append(cmd, record[x.slot:x.slot+8]...)
	}
	return append(buf[:0], s.bytes[x.cmd.from:x.cmd.to]...)
}

// seen judges the answer to a command of the reading part.
func (s *Script) seen(buf []byte, x *look, answer, record []byte, tries bool) error {
	err := ok(answer)
	if tries {
		if sw, is := err.(uicc.SW); is && uicc.WantTries.Met(sw) {
			return nil
		}
		if left, counted := uicc.Response(answer).SW().Tries(); counted {
			return fmt.Errorf("%w: %d", ErrTries, left)
		}
		if err == uicc.SWBlocked {
			return fmt.Errorf("%w: 0", ErrTries)
		}
	}
	if err != nil || x.kind != lookRead {
		return err
	}
	want := append(buf[:0], s.bytes[x.want.from:x.want.to]...)
	if err := apply(want, x.patches, record, nil); err != nil {
		return err
	}
	got := uicc.Response(answer).Data()
	if string(got) == string(want) {
		return nil
	}
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	return &Mismatch{File: x.name, Record: x.record, Offset: x.offset + n}
}
