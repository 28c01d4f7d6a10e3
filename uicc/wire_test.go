package uicc

import (
	"testing"
	"time"
)

// Counted by hand from ISO/IEC 7816-3, 10.3 and 11.
func TestWire(t *testing.T) {
	for name, c := range map[string]struct {
		cmd  []byte
		data int
		t0   Wire
		t1   Wire
	}{
		"case 1": {[]byte{0, 0x20, 0, 1}, 0, Wire{Commands: 1, Sent: 5, Received: 2, Turns: 2}, Wire{true, 1, 8, 6, 2}},
		"case 2": {[]byte{0, 0xB0, 0, 0, 9}, 9, Wire{Commands: 1, Sent: 5, Received: 12, Turns: 2}, Wire{true, 1, 9, 15, 2}},
		"case 3": {[]byte{0, 0xD6, 0, 0, 2, 1, 2}, 0, Wire{Commands: 1, Sent: 7, Received: 3, Turns: 4}, Wire{true, 1, 11, 6, 2}},
		"case 4": {[]byte{0, 0xA4, 0, 4, 2, 0x3F, 0, 0}, 20, Wire{Commands: 2, Sent: 12, Received: 26, Turns: 6}, Wire{true, 1, 12, 26, 2}},
		"chain":  {append([]byte{0, 0xD6, 0, 0, 255}, make([]byte, 255)...), 0, Wire{Commands: 1, Sent: 260, Received: 3, Turns: 4}, Wire{true, 1, 268, 10, 4}},
		"none":   {[]byte{1}, 0, Wire{}, Wire{T1: true}},
	} {
		var t0 Wire
		t1 := Wire{T1: true}
		t0.Count(c.cmd, c.data)
		t1.Count(c.cmd, c.data)
		if t0 != c.t0 || t1 != c.t1 {
			t.Errorf("%s: %+v and %+v, want %+v and %+v", name, t0, t1, c.t0, c.t1)
		}
	}
	// TA1 = 96: 512 cycles for 32 bits, so 16 a bit; 5 MHz.
	s, err := SpeedOf(0x96, 5e6)
	if err != nil || s.F != 512 || s.D != 32 {
		t.Fatalf("%+v, %v", s, err)
	}
	w := Wire{Sent: 7, Received: 3, Turns: 4}
	if got, want := w.Time(s), time.Duration(12*10+4*4)*3200*time.Nanosecond; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	w.T1 = true
	if got, want := w.Time(s), time.Duration(11*10+11*4)*3200*time.Nanosecond; got != want {
		t.Errorf("T=1: %v, want %v", got, want)
	}
	if w.Time(Speed{}) != 0 {
		t.Error("no speed takes time")
	}
	for _, bad := range []struct {
		ta1   byte
		clock int
	}{{0x70, 5e6}, {0x10, 5e6}, {0x1A, 5e6}, {0x96, 0}} {
		if s, err := SpeedOf(bad.ta1, bad.clock); err == nil {
			t.Errorf("TA1 %02X is %+v", bad.ta1, s)
		}
	}
}
