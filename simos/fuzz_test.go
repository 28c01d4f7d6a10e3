package simos

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"

	"ankan/scp"
	"ankan/uicc"
)

func fuzzChip(t testing.TB) *Chip {
	k := bytes.Repeat([]byte{1}, 16)
	keys, err := scp.NewKeySet(k, k, k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewChip(Config{Lot: "FUZZ", Keys: keys, Vendor: make(ed25519.PublicKey, 32), Seed: make([]byte, 16), Memory: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fuzzState is a chip with files, in the given state, inside its channel or not.
func fuzzState(t testing.TB, life Life, inside bool) *Chip {
	c := fuzzChip(t)
	k := c.core()
	if life == Blank {
		c.Reset()
		if inside {
			k.session.inside, k.session.domain, k.session.ch = true, atManager, &k.session.channels[0]
			k.session.keys, _ = k.static()
		}
		return c
	}
	k.b[atLife], k.b[atOS] = byte(Loaded), 1
	c.Reset()
	k.session.inside = true
	k.session.ch = &k.session.channels[0]
	k.session.keys, _ = k.static()
	fcp := func(f uicc.FCP) {
		if sw := k.createFile(&uicc.Command{Data: f.Append(nil)}); sw != uicc.SWOK {
			t.Fatal(sw)
		}
		k.commit()
	}
	open := uicc.AppendRules(nil, uicc.Rule{Mode: 0x7F, Condition: uicc.Always()})
	fcp(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	fcp(uicc.FCP{Kind: uicc.LinearFixed, ID: 0x2F06, SFI: 6, RecordSize: 5, Records: 1, Size: 5, Fill: open, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	fcp(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF0, Name: []byte("\xA0\x00\x00\x00\x87"), Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	fcp(uicc.FCP{Kind: uicc.Transparent, ID: 0x6F38, SFI: 4, Size: 6, Fill: []byte{0xFF}, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	fcp(uicc.FCP{Kind: uicc.Cyclic, ID: 0x6F44, SFI: 5, RecordSize: 3, Records: 3, Size: 9, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	fcp(uicc.FCP{Kind: uicc.BERTLV, ID: 0x4F01, SFI: 7, Size: 32, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	r := head(recordCode, codeSize)
	r[codeRef], r[codeTries], r[codeMax], r[codePUK], r[codePUKMax] = 1, 3, 3, 10, 10
	k.add(r)
	k.commit()
	r = head(recordAKA, akaSet+33)
	put24(r[akaOwner:], k.session.ch.adf)
	r[akaSet] = 1
	k.add(r)
	r = head(recordOTA, keysSecret+48)
	r[keysVersion], r[keysLength] = 1, 16
	k.add(r)
	for i, e := range []struct{ kind, privileges byte }{{appLoadFile, 0}, {appInstance, privDomain}, {appInstance, 0}} {
		r = head(recordApp, appBody)
		r[appKind], r[appLife], r[appPrivs] = e.kind, appSelectable, e.privileges
		setAID(r[appAIDLen:], []byte{0xF0, 0, 0, 0, byte(i)})
		if e.kind == appLoadFile {
			r = append(append(r, make([]byte, 32)...), 5, 0xF0, 0, 0, 1, 0)
			put24(r[1:], len(r))
		}
		k.add(r)
	}
	k.write(atLife, byte(life))
	k.commit()
	if !inside {
		c.Reset()
	}
	return c
}

// No bytes make a chip panic, answer less than a status word, or leave its
// memory unsound. Commands stand one behind the other with a length byte.
// Those of class 8x and 0x with state&1 run as if the secure channel had brought
// them, so that everything behind it is in reach.
func FuzzTransmit(f *testing.F) {
	for state := range byte(8) {
		f.Add(state, []byte("\x07\x00\xA4\x04\x00\x02\x3F\x00\x05\x80\xF2\x00\x00\x00"))
		f.Add(state, []byte("\x0A\x00\xA4\x04\x0C\x05\xA0\x00\x00\x00\x87\x05\x00\xB0\x84\x00\x00\x05\x00\xB2\x01\x2C\x00"))
		f.Add(state, []byte("\x12\x00\xE0\x00\x00\x0D\x62\x0B\x82\x02\x78\x21\x83\x02\x5F\x01\x8A\x01\x05\x07\x00\xE4\x00\x00\x02\x5F\x01"))
		f.Add(state, []byte("\x07\x00\xE4\x00\x00\x02\x3F\x00\x07\x80\xE2\x80\x00\x02\xA0\x01\x05\x80\xF0\x80\x0F\x00"))
		f.Add(state, []byte("\x0D\x00\x20\x00\x01\x08\x30\x30\x30\x30\xFF\xFF\xFF\xFF\x05\x00\x70\x00\x00\x01"))
		tlv := "\x0A\x00\xA4\x04\x0C\x05\xA0\x00\x00\x00\x87"
		f.Add(state, []byte(tlv+"\x08\x80\xDB\x00\x87\x03\x80\x01\xAA\x06\x80\xCB\x00\x87\x01\x5C\x07\x80\xCB\x00\x80\x01\x80\x01\x05\x80\xCB\x00\x00\x01\x06\x80\xDB\x00\x80\x01\x80"))
		f.Add(state, []byte(tlv+"\x09\x80\xDB\x00\x87\x04\x5F\x01\x03\xAA\x07\x80\xDB\x00\x00\x02\xBB\xCC\x08\x80\xDB\x00\x80\x03\x5F\x01\x00\x08\x80\xDB\x00\x80\x03\x81\x01\x00"))
	}
	for state := range byte(12) {
		f.Add(state, []byte("\x07\xA0\xA4\x00\x00\x02\x7F\x20\x05\xA0\xC0\x00\x00\x16\x07\xA0\xA4\x00\x00\x02\x6F\x44\x08\xA0\x32\x00\x00\x03\x00\x00\x01\x05\xA0\xF2\x00\x00\x16"))
		f.Add(state, []byte("\x0C\x80\xE6\x02\x00\x0A\x05\xF0\x00\x00\x00\x09\x00\x00\x00\x00\x08\x80\xE8\x80\x00\x03\xC4\x01\x00\x08\x80\xF2\x40\x02\x02\x4F\x00\x00"))
		f.Add(state, []byte("\x0D\x80\xE4\x00\x80\x07\x4F\x05\xF0\x00\x00\x00\x00\x00\x0A\x80\xF0\x40\x80\x05\xF0\x00\x00\x00\x02\x0A\x00\xA4\x04\x00\x05\xF0\x00\x00\x00\x02\x0A\x80\xE2\x88\x00\x05\x01\x01\x02\xAA\xBB\x05\x80\xCA\x01\x01\x00"))
		f.Add(state, []byte("\x05\x00\x70\x00\x00\x01\x0A\x01\xA4\x04\x0C\x05\xA0\x00\x00\x00\x87\x0F\x81\xD4\x00\x00\x0A\x62\x08\x83\x02\x6F\x38\x80\x02\x00\x20\x05\x01\x70\x80\x01\x00"))
		f.Add(state, []byte("\x0A\x00\xA4\x04\x0E\x05\xA0\x00\x00\x00\x87\x05\x80\x78\x00\x01\x00\x0B\x00\xA2\x01\x2E\x05\x0C\x00\xFF\xFF\x00\x08\x80\xC2\x00\x00\x03\xD1\x01\x00"))
	}
	lives := []Life{Loaded, Initialized, Secured, Locked, Blank, Terminated, Secured, Secured}
	f.Fuzz(func(t *testing.T, state byte, b []byte) {
		inside := state&1 != 0
		c := fuzzState(t, lives[state>>1&7], inside)
		k := c.core()
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			cmd := b[1 : 1+n]
			b = b[1+n:]
			r, err := c.Transmit(context.Background(), cmd)
			if err != nil || len(r) < 2 || len(r) > 258 {
				t.Fatalf("%X answers %X, %v", cmd, r, err)
			}
			if p, err := uicc.ParseCommand(cmd); err == nil && inside && p.CLA&0x7C == 0 {
				k.session.inside, k.session.domain, k.session.ch = true, atManager, &k.session.channels[p.CLA&3]
				k.session.out, k.session.waiting = k.session.out[:0], -1
				if p.CLA&0x80 != 0 {
					k.proprietary(&p)
				} else {
					k.interindustry(&p)
				}
				k.commit()
			}
			if err := k.check(); err != nil {
				t.Fatalf("after %X: %v", cmd, err)
			}
			if !k.remembersRight() {
				t.Fatalf("after %X: the session remembers what is no more", cmd)
			}
		}
	})
}

// remembersRight reports whether all that the session remembers of the memory is
// still there.
func (c *core) remembersRight() bool {
	is := func(at int, kind byte) bool {
		for r := atRecords; r < c.base; r = c.after(r) {
			if r == at {
				return c.b[r] == kind
			}
		}
		return at == 0
	}
	s := c.session
	for i := range s.channels {
		ch := &s.channels[i]
		app := ch.app == atManager || is(ch.app, recordApp) || is(ch.app, recordFile)
		if !app || !is(ch.dir, recordFile) || !is(ch.adf, recordFile) || !is(ch.file, recordFile) || ch.transfer.file != 0 && ch.transfer.file != ch.file {
			return false
		}
	}
	for _, at := range s.verified {
		if !is(at, recordCode) {
			return false
		}
	}
	return is(s.perso, recordApp)
}

// A memory that Unmarshal takes is one that no command runs off.
func FuzzRestore(f *testing.F) {
	for _, life := range []Life{Blank, Initialized, Secured} {
		b := fuzzState(f, life, false).Marshal()
		f.Add(b[:len(b)-32])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < atRecords {
			return
		}
		c, err := restore(bytes.Clone(b))
		if err != nil {
			return
		}
		c.Reset()
		for _, cmd := range []string{
			"\x00\xA4\x00\x04\x02\x3F\x00\x00", "\x00\xA4\x04\x04\x05\xA0\x00\x00\x00\x87\x00", "\x80\xF2\x00\x00\x00",
			"\x00\xB0\x84\x00\x00", "\x80\xCB\x00\x87\x01\x5C", "\x80\xCB\x00\x87\x01\x80\x01", "\x80\xCB\x00\x00\x01", "\x80\xDB\x00\x87\x03\x80\x01\xAA", "\x80\xDB\x00\x87\x01\x80", "\x00\xB2\x01\x2C\x00", "\x00\xB2\x00\x2B\x00", "\x00\xA2\x01\x2C\x01\xFF\x00", "\x00\xDC\x00\x2B\x03\x01\x02\x03",
			"\x80\xCA\x00\xE0\x00", "\x80\x50\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x20\x00\x01\x08\x30\x30\x30\x30\xFF\xFF\xFF\xFF",
			"\x00\x88\x00\x81\x22\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		} {
			if _, err := c.Transmit(context.Background(), []byte(cmd)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// No script of a remote server, in either format, makes the card panic, leaves its
// memory unsound, its session with what is no more, or its answer longer than fits.
func FuzzScript(f *testing.F) {
	for tar := range byte(3) {
		f.Add(tar, []byte("\x00\xA4\x00\x00\x02\x6F\x38\x00\xB0\x00\x00\x06\x00\xE4\x00\x00\x02\x6F\x38"))
		f.Add(tar, []byte("\x00\xA4\x00\x04\x02\x6F\x44\x00\xC0\x00\x00\x05\x80\x32\x00\x00\x01\x01"))
		f.Add(tar, []byte("\xAA\x10\x22\x06\x00\xA4\x00\x04\x02\x6F\x22\x05\x00\xB0\x00\x00\x06"))
		f.Add(tar, []byte("\x80\xF2\x40\x02\x02\x4F\x00\x00\xC0\x00\x00\x40\x80\xE4\x00\x80\x07\x4F\x05\xF0\x00\x00\x00\x00"))
		f.Add(tar, []byte("\xA0\xA4\x00\x00\x02\x7F\x20\xA0\xC0\x00\x00\x16\xA0\xA2\x00\x10\x01\xFF"))
		f.Add(tar, []byte("\x80\xD4\x00\x00\x0A\x62\x08\x83\x02\x6F\x38\x80\x02\x00\x20\x80\xD8\x00\x81\x03\x01\x88\x11"))
	}
	f.Fuzz(func(t *testing.T, tar byte, script []byte) {
		c := fuzzState(t, Secured, false)
		k := c.core()
		k.session.ch = &k.session.channels[0]
		sealing, err := k.keySet(k.ota(1)+keysSecret, 16)
		if err != nil {
			t.Fatal(err)
		}
		app, ok := k.remote([]scp.TAR{scp.TARISD, scp.TARUICC, scp.TARUSIM}[tar%3])
		if !ok {
			t.Fatal("no application")
		}
		data := k.script(app, sealing, script)
		if len(data) > remoteRoom+3+255*4 || len(script) > 0 && len(data) < 3 {
			t.Fatalf("%d bytes of answer", len(data))
		}
		if k.session.inside || k.session.remote != nil || k.session.ch != &k.session.channels[0] || k.session.channels[channels].open {
			t.Fatal("the script's session goes on")
		}
		if err := k.check(); err != nil {
			t.Fatal(err)
		}
		if !k.remembersRight() {
			t.Fatal("the session remembers what is no more")
		}
		c.Reset()
	})
}
