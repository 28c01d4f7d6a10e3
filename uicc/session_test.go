package uicc_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/uicc"
)

// script is a Card that expects commands and gives answers, both in hex:
// "command > answer", a line each. An answer "dead" is none.
type script struct {
	t     *testing.T
	lines []string
}

var errDead = errors.New("the card does not answer")

func (s *script) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	s.t.Helper()
	if len(s.lines) == 0 {
		s.t.Fatalf("unexpected command %X", cmd)
	}
	want, answer, _ := strings.Cut(s.lines[0], " > ")
	s.lines = s.lines[1:]
	if got := strings.ToUpper(hex.EncodeToString(cmd)); got != want {
		s.t.Fatalf("command %s, want %s", got, want)
	}
	if answer == "dead" {
		return nil, errDead
	}
	return unhex(s.t, answer), nil
}

func session(t *testing.T, lines ...string) (*uicc.Session, *script) {
	s := &script{t, lines}
	t.Cleanup(func() {
		if len(s.lines) > 0 {
			t.Errorf("%d commands were not sent: %s", len(s.lines), s.lines[0])
		}
	})
	return uicc.NewSession(s), s
}

const fcpICCID = "621182024121 83022FE2 8002000A 880110 8A0105"

func TestSession(t *testing.T) {
	ctx := t.Context()
	fcp := hex.EncodeToString(fixed(t, fcpICCID))
	t.Run("select over T=0", func(t *testing.T) {
		s, _ := session(t, "00A40004022FE200 > 6114", "00C0000014 > "+fcp+"9000")
		f, err := s.Select(ctx, uicc.EFICCID)
		if err != nil || f.Size != 10 {
			t.Errorf("%+v, %v", f, err)
		}
	})
	t.Run("select by path, deactivated", func(t *testing.T) {
		s, _ := session(t, "00A40804047F106F3A00 > "+fcp+"6283")
		if _, err := s.Select(ctx, uicc.MF, 0x7F10, 0x6F3A); err != nil {
			t.Error(err)
		}
	})
	t.Run("select refused", func(t *testing.T) {
		s, _ := session(t, "00A4040407A000000087100200 > 6A82")
		_, err := s.SelectAID(ctx, unhex(t, "A0000000871002"))
		if !errors.Is(err, uicc.SWFileNotFound) {
			t.Errorf("%v", err)
		}
	})
	t.Run("select, wrong FCP", func(t *testing.T) {
		s, _ := session(t, "00A40004023F0000 > 6F009000")
		if _, err := s.Select(ctx, uicc.MF); !errors.Is(err, uicc.ErrFCP) {
			t.Errorf("%v", err)
		}
	})
	t.Run("select, no answer", func(t *testing.T) {
		s, _ := session(t, "00A40004023F0000 > dead")
		if _, err := s.Select(ctx, uicc.MF); !errors.Is(err, errDead) {
			t.Errorf("%v", err)
		}
	})
	t.Run("read whole file", func(t *testing.T) {
		s, _ := session(t, "00A40004022FE200 > "+fcp+"9000", "00B000000A > 010203040506070809109000")
		b, err := s.ReadFile(ctx, uicc.EFICCID)
		if err != nil || len(b) != 10 {
			t.Errorf("%X, %v", b, err)
		}
	})
	t.Run("read a file of records whole", func(t *testing.T) {
		s, _ := session(t, "00A40004022F0000 > "+hex.EncodeToString(fixed(t, "6200 82054221000102 83022F00 80020002"))+"9000")
		if _, err := s.ReadFile(ctx, uicc.EFDIR); err == nil {
			t.Error("no error")
		}
	})
	t.Run("read in chunks by SFI", func(t *testing.T) {
		x := hex.EncodeToString(make([]byte, 224))
		s, _ := session(t, "00B08200E0 > "+x+"9000", "00B082E001 > FF9000")
		b, err := s.ReadBinary(ctx, 2, 0, 225)
		if err != nil || len(b) != 225 || b[224] != 0xFF {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("read nothing", func(t *testing.T) {
		s, _ := session(t, "00B0000005 > 9000")
		if _, err := s.ReadBinary(ctx, 0, 0, 5); err == nil {
			t.Error("no error")
		}
	})
	t.Run("out of reach", func(t *testing.T) {
		s, _ := session(t)
		if _, err := s.ReadBinary(ctx, 2, 200, 100); err == nil {
			t.Error("offset 299 with an SFI")
		}
		if err := s.UpdateBinary(ctx, 31, 0, []byte{1}); err == nil {
			t.Error("SFI 31")
		}
		if err := s.UpdateBinary(ctx, 0, 0x8000, []byte{1}); err == nil {
			t.Error("offset 8000")
		}
	})
	t.Run("update in chunks", func(t *testing.T) {
		x := strings.ToUpper(hex.EncodeToString(bytes.Repeat([]byte{0xAA}, 224)))
		s, _ := session(t, "00D60100E0"+x+" > 9000", "00D601E001AA > 9000")
		if err := s.UpdateBinary(ctx, 0, 0x100, bytes.Repeat([]byte{0xAA}, 225)); err != nil {
			t.Error(err)
		}
	})
	t.Run("update refused", func(t *testing.T) {
		s, _ := session(t, "00D6000001AA > 6982")
		err := s.UpdateBinary(ctx, 0, 0, []byte{0xAA})
		if e := (*uicc.StatusError)(nil); !errors.As(err, &e) || e.SW != uicc.SWSecurity || strings.Contains(err.Error(), "AA") {
			t.Errorf("%v", err)
		}
	})
	t.Run("records and wrong Le", func(t *testing.T) {
		s, _ := session(t, "00B2010400 > 6C03", "00B2010403 > 0102039000", "00DC013C020102 > 9000")
		b, err := s.ReadRecord(ctx, 0, 1)
		if err != nil || len(b) != 3 {
			t.Errorf("%X, %v", b, err)
		}
		if err := s.UpdateRecord(ctx, 7, 1, []byte{1, 2}); err != nil {
			t.Error(err)
		}
	})
	t.Run("PIN", func(t *testing.T) {
		s, _ := session(t, "0020000100 > 63C3", "0020000100 > 6983", "0020000100 > 6A88", "0020000100 > dead",
			"002000010831323334FFFFFFFF > 63C2")
		if n, err := s.Tries(ctx, 1); n != 3 || err != nil {
			t.Error(n, err)
		}
		if n, err := s.Tries(ctx, 1); n != 0 || err != nil {
			t.Error(n, err)
		}
		if _, err := s.Tries(ctx, 1); !errors.Is(err, uicc.SWNotFound) {
			t.Error(err)
		}
		if _, err := s.Tries(ctx, 1); !errors.Is(err, errDead) {
			t.Error(err)
		}
		var sw uicc.SW
		if err := s.Verify(ctx, 1, [8]byte{0x31, 0x32, 0x33, 0x34, 255, 255, 255, 255}); !errors.As(err, &sw) {
			t.Error(err)
		}
		if n, ok := sw.Tries(); n != 2 || !ok {
			t.Error(sw)
		}
	})
	t.Run("authenticate", func(t *testing.T) {
		zeros := strings.Repeat("00", 16)
		s, _ := session(t, "0088008122"+"10"+zeros+"10"+zeros+"00 > 6102", "00C0000002 > DB009000")
		b, err := s.Authenticate(ctx, [16]byte{}, [16]byte{})
		if err != nil || b[0] != 0xDB {
			t.Errorf("%X, %v", b, err)
		}
	})
	t.Run("data and status", func(t *testing.T) {
		s, _ := session(t, "80CA9F7F00 > 9F7F00"+"9000", "80F2000000 > "+fcp+"9000", "80F2000000 > 6D00")
		if _, err := s.GetData(ctx, 0x9F7F); err != nil {
			t.Error(err)
		}
		if f, err := s.Status(ctx); err != nil || f.ID != uicc.EFICCID {
			t.Error(f, err)
		}
		if _, err := s.Status(ctx); !errors.Is(err, uicc.SWInstruction) {
			t.Error(err)
		}
	})
	t.Run("short answer", func(t *testing.T) {
		s, _ := session(t, "80F2000000 > 90")
		if _, err := s.Status(ctx); err == nil {
			t.Error("no error")
		}
	})
	t.Run("read a file that is not there", func(t *testing.T) {
		s, _ := session(t, "00A40004022FE200 > 6A82", "00B0000005 > dead")
		if _, err := s.ReadFile(ctx, uicc.EFICCID); !errors.Is(err, uicc.SWFileNotFound) {
			t.Error(err)
		}
		if _, err := s.ReadBinary(ctx, 0, 0, 5); !errors.Is(err, errDead) {
			t.Error(err)
		}
	})
	t.Run("61xx without end", func(t *testing.T) {
		lines := []string{"80F2000000 > 6101"}
		for range 31 {
			lines = append(lines, "00C0000001 > 6101")
		}
		s, _ := session(t, lines...)
		if _, err := s.Status(ctx); err == nil {
			t.Error("no error")
		}
	})
}

func TestSW(t *testing.T) {
	for sw, want := range map[uicc.SW]string{
		0x9000: "9000 normal ending", 0x6A82: "6A82 file not found", 0x6110: "6110 16 bytes wait",
		0x6100: "6100 256 bytes wait", 0x6C05: "6C05 wrong Le, want 5", 0x63C2: "63C2 wrong, 2 tries left",
		0x9110: "9110 normal ending, a proactive command waits", 0x1234: "1234 unknown status",
	} {
		if sw.String() != want || sw.Error() != want {
			t.Errorf("%q, want %q", sw, want)
		}
	}
	if !uicc.SW(0x910A).OK() || uicc.SW(0x6283).OK() || !uicc.SWDeactivated.Warning() || uicc.TriesLeft(20) != 0x63CF {
		t.Error("OK, Warning or TriesLeft is wrong")
	}
	for _, c := range []struct {
		e    uicc.StatusError
		want string
	}{
		{uicc.StatusError{0x00, 0xE4, 0, 0, uicc.SWSecurity}, "DELETE FILE 00E4 0000: 6982 security status not satisfied"},
		{uicc.StatusError{0x84, 0xE8, 0x80, 1, uicc.SWData}, "LOAD 84E8 8001: 6A80 wrong data"},
		{uicc.StatusError{0x00, 0x01, 0, 0, uicc.SWInstruction}, "command 0001 0000: 6D00 instruction not supported"},
	} {
		if c.e.Error() != c.want || !errors.Is(fmt.Errorf("x: %w", &c.e), c.e.SW) {
			t.Errorf("%q, want %q", c.e.Error(), c.want)
		}
	}
}

func TestFileNames(t *testing.T) {
	want := []string{"no file", "MF", "DF", "ADF", "transparent", "linear fixed", "cyclic", "BER-TLV"}
	for k, w := range want {
		if uicc.Kind(k).String() != w {
			t.Errorf("kind %d is %q", k, uicc.Kind(k))
		}
	}
	if uicc.Kind(99).String() != "no file" {
		t.Error(uicc.Kind(99))
	}
	if uicc.MF.String() != "3F00" {
		t.Error(uicc.MF)
	}
}
