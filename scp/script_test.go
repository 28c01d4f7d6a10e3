package scp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"ankan/uicc"
)

func TestScript(t *testing.T) {
	commands := []uicc.Command{
		{INS: uicc.INSSelect, P2: 4, Data: []byte{0x3F, 0}},
		{INS: uicc.INSReadBinary, Le: 256},
		{CLA: 0x80, INS: uicc.INSStoreData, P1: 0x80, Data: make([]byte, 200), Le: 3},
	}
	b := AppendScript(nil, commands...)
	if got, want := hex.EncodeToString(b[:20]), "aa81e1220700a40004023f00220500b000000022"; got != want {
		t.Errorf("script begins %s, want %s", got, want)
	}
	got, err := ReadScript(b)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, c := range got {
		if !bytes.Equal(c.Append(nil), commands[i].Append(nil)) {
			t.Errorf("command %d is %x, want %x", i, c.Append(nil), commands[i].Append(nil))
		}
	}
	a := ScriptAnswer{Executed: 2, Responses: []uicc.Response{{0x61, 0x20}, {1, 2, 0x90, 0}}}
	b = a.Append(nil)
	if got, want := hex.EncodeToString(b), "ab0d8001022302612023040102"+"9000"; got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	back, err := ReadScriptAnswer(b)
	if err != nil || back.Executed != 2 || len(back.Responses) != 2 || !bytes.Equal(back.Responses[1], a.Responses[1]) {
		t.Errorf("%+v, %v, want %+v", back, err, a)
	}
	b = a.AppendCompact(nil)
	if !bytes.Equal(b, []byte{2, 0x90, 0, 1, 2}) {
		t.Errorf("compact answer %x", b)
	}
	back, err = ReadCompactAnswer(b)
	if err != nil || back.Executed != 2 || len(back.Responses) != 1 || !bytes.Equal(back.Responses[0], a.Responses[1]) {
		t.Errorf("%+v, %v", back, err)
	}
	// The published proofs of receipt are compact.
	if a, err := ReadCompactAnswer([]byte{1, 0x61, 0x32}); err != nil || a.Executed != 1 || a.Responses[0].SW() != 0x6132 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestScriptRefuses(t *testing.T) {
	for _, s := range []string{"", "ab00", "aa0000", "aa0123", "aa028100", "aa0322012a", "aa03220100"} {
		if _, err := ReadScript(unhex(t, s)); !errors.Is(err, ErrPacket) {
			t.Errorf("script %s: %v, want ErrPacket", s, err)
		}
	}
	for _, s := range []string{"", "aa00", "ab00", "ab0123", "ab0423029000", "ab06800101800102", "ab06800101230190", "ab03800200"} {
		if _, err := ReadScriptAnswer(unhex(t, s)); !errors.Is(err, ErrPacket) {
			t.Errorf("answer %s: %v, want ErrPacket", s, err)
		}
	}
	if _, err := ReadCompactAnswer([]byte{1, 0x90}); !errors.Is(err, ErrPacket) {
		t.Errorf("two bytes: %v, want ErrPacket", err)
	}
}

func FuzzScript(f *testing.F) {
	f.Add(AppendScript(nil, uicc.Command{INS: uicc.INSReadBinary, Le: 1}))
	f.Add(ScriptAnswer{Executed: 1, Responses: []uicc.Response{{0x90, 0}}}.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if commands, err := ReadScript(data); err == nil {
			if _, err := ReadScript(AppendScript(nil, commands...)); err != nil {
				t.Errorf("%x: %v", data, err)
			}
		}
		if a, err := ReadScriptAnswer(data); err == nil {
			if again := a.Append(nil); !bytes.Equal(again, data) {
				t.Errorf("%x became %x", data, again)
			}
		}
		if a, err := ReadCompactAnswer(data); err == nil {
			if again := a.AppendCompact(nil); !bytes.Equal(again, data) {
				t.Errorf("%x became %x", data, again)
			}
		}
	})
}
