package scp

import (
	"fmt"

	"ankan/uicc"
)

// Tags of the expanded remote application data format (TS 102 226, 5.2).
const (
	tagScript       = 0xAA
	tagScriptAnswer = 0xAB
	tagCommandAPDU  = 0x22
	tagResponseAPDU = 0x23
	tagExecuted     = 0x80
)

// AppendScript appends the commands in the expanded format to dst: what is in
// a packet for remote management (TS 102 226, 5.2.1). In the compact format
// the commands just follow one another, without Le after data.
func AppendScript(dst []byte, commands ...uicc.Command) []byte {
	var body []byte
	for _, c := range commands {
		body = uicc.AppendTLV(body, tagCommandAPDU, c.Append(nil)...)
	}
	return uicc.AppendTLV(dst, tagScript, body...)
}

// ReadScript is the card's side of AppendScript: commands alone, with a length
// in front. Errors wrap ErrPacket.
func ReadScript(data []byte) ([]uicc.Command, error) {
	body, err := readScriptTLV(data, tagScript)
	if err != nil {
		return nil, fmt.Errorf("scp: script: %w", err)
	}
	var all []uicc.Command
	for t, err := range uicc.TLVs(body) {
		if err == nil && t.Tag != tagCommandAPDU {
			err = fmt.Errorf("tag %X, want commands (22)", uint32(t.Tag))
		}
		var c uicc.Command
		if err == nil {
			c, err = uicc.ParseCommand(t.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("scp: script: %w: %w", err, ErrPacket)
		}
		all = append(all, c)
	}
	return all, nil
}

func readScriptTLV(data []byte, tag uicc.Tag) ([]byte, error) {
	t, rest, err := uicc.ReadTLV(data)
	if err == nil && (t.Tag != tag || len(rest) > 0) {
		err = fmt.Errorf("tag %X and %d bytes after it, want %X alone", uint32(t.Tag), len(rest), uint32(tag))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrPacket)
	}
	return t.Value, nil
}

// A ScriptAnswer is what a card says of a script: how many commands it did,
// and responses: of each in the expanded format, of the last in the compact
// one.
type ScriptAnswer struct {
	Executed  int
	Responses []uicc.Response
}

// AppendCompact appends the answer in the compact format (TS 102 226, 5.1.2),
// which has the last response alone. It wants Executed in 1..255 and a
// response.
func (a ScriptAnswer) AppendCompact(dst []byte) []byte {
	r := a.Responses[len(a.Responses)-1]
	dst = append(dst, byte(a.Executed), byte(r.SW()>>8), byte(r.SW()))
	return append(dst, r.Data()...)
}

// ReadCompactAnswer reads an answer in the compact format. The response aliases
// nothing. Errors wrap ErrPacket.
func ReadCompactAnswer(data []byte) (ScriptAnswer, error) {
	if len(data) < 3 {
		return ScriptAnswer{}, fmt.Errorf("scp: script's answer has %d bytes, want 3 or more: %w", len(data), ErrPacket)
	}
	r := append(uicc.Response{}, data[3:]...)
	r = append(r, data[1], data[2])
	return ScriptAnswer{Executed: int(data[0]), Responses: []uicc.Response{r}}, nil
}

// Append appends the answer in the expanded format (TS 102 226, 5.2.2).
func (a ScriptAnswer) Append(dst []byte) []byte {
	body := uicc.AppendTLV(nil, tagExecuted, byte(a.Executed))
	for _, r := range a.Responses {
		body = uicc.AppendTLV(body, tagResponseAPDU, r...)
	}
	return uicc.AppendTLV(dst, tagScriptAnswer, body...)
}

// ReadScriptAnswer reads an answer in the expanded format. The responses alias
// data. Errors wrap ErrPacket.
func ReadScriptAnswer(data []byte) (ScriptAnswer, error) {
	body, err := readScriptTLV(data, tagScriptAnswer)
	if err != nil {
		return ScriptAnswer{}, fmt.Errorf("scp: script's answer: %w", err)
	}
	a := ScriptAnswer{Executed: -1}
	for t, err := range uicc.TLVs(body) {
		switch {
		case err != nil:
		case a.Executed < 0 && t.Tag == tagExecuted && len(t.Value) == 1:
			a.Executed = int(t.Value[0])
		case a.Executed >= 0 && t.Tag == tagResponseAPDU && len(t.Value) >= 2:
			a.Responses = append(a.Responses, uicc.Response(t.Value))
		default:
			err = fmt.Errorf("tag %X of %d bytes, want a count (80), then responses (23)", uint32(t.Tag), len(t.Value))
		}
		if err != nil {
			return ScriptAnswer{}, fmt.Errorf("scp: script's answer: %w: %w", err, ErrPacket)
		}
	}
	if a.Executed < 0 {
		return ScriptAnswer{}, fmt.Errorf("scp: script's answer: no count of commands: %w", ErrPacket)
	}
	return a, nil
}
