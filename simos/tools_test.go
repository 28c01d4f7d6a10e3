package simos_test

import (
	"bytes"
	"context"
	"testing"

	"ankan/gp"
	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// reader is a card terminal with a T=0 card, as PC/SC shows it to tools: it sends
// what it is given, and GET RESPONSE and the right Le only if the tool does not.
type reader struct{ card uicc.Card }

func (r reader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	out, sw, err := uicc.Exchange(ctx, r.card, bytes.Clone(cmd), nil)
	return append(out, byte(sw>>8), byte(sw)), err
}

// What tools for SIM cards send, command by command over T=0, and what they must
// get to go on. The sequences are ours, after what the tools were seen to do.
func TestTools(t *testing.T) {
	card := built(t, false)
	for name, script := range map[string]string{
		// pySim-read and pySim-shell: which profile is it, which applications are
		// there, the files by identifier, records by the length that the FCP tells.
		"pySim": `
			00A40004023F00 > 612E
			00C000002E > ..9000
			A0A40000023F00 > 9F16               # is it a SIM too
			A0C0000016 > ..9000
			A0A40000027F25 > 9404               # and no R-UIM
			00A40004022F00 > 611C
			00C000001C > ..9000
			00B2010414 > 610A4F08A0000000871002FFFFFFFFFFFFFFFFFF9000
			00B2020414 > FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF9000
			00B2030414 > 6A83
			00A4040408A0000000871002FF > 613B
			00C000003B > ..9000
			00A4040408A0000000871004FF > 6135
			00A4040410A0000005591010FFFFFFFF8900000100 > 6A82 # no eUICC
			00A4040409A00000015141434C00 > 6A82 # no access rules
			00A404040CA000000063504B43532D3135 > 6A82
			00A4040407A0000000871002 > 613B
			80F20000FF > 6C3B
			80F200003B > ..9000
			00A40004026F07 > 6119
			00B0000009 > 6982
			0020000100 > 63C3
			002000010831323334FFFFFFFF > 9000
			00B0000009 > 0849049100000000109000
			00A40004026F38 > 6119
			00B0000010 > ..9000
			00A40004026F3E > 6A82
			00A40004026F3A > 611C
			00B2010408 > 414E4E41FF3131FF9000
			00DC010408 5A5A5A5A5A5A5A5A > 9000
			0020000A08AD01020304050607 > 9000
			00A40004024F20 > 6126
			80CB00800180 > 6104
			00C0000004 > 800201029000
			80DB0080028003 > 63F1
			80DB000003024455 > 9000
			00A4030400 > 6C2E                   # parent
			00A403042E > ..9000
			00440000022FE2 > 9000
			8076000004013C020C > 6D00           # SUSPEND UICC
			008800812210000000000000000000000000000000001000000000000000000000000000000000 > 9862
			00700000 00 > 6C01
			00CA9F7F00 > 6C2D
			80CA9F7F2D > ..9000`,
		// osmo-sim-auth: EF.DIR by path, the application, the challenge; a SIM the
		// old way.
		"authentication": `
			00A40804022F00 > 611C
			00B2010400 > 6C14
			00B2010414 > ..9000
			00A4040408A0000000871002FF > 613B
			002000010831323334FFFFFFFF > 9000
			008800812210120000000000000000000000000000001000000000000000000000000000000000 > 9862
			A0A40000023F00 > 9F16
			A0A40000027F20 > 9F16
			A088000010 12000000000000000000000000000000 > 9F0C
			A0C000000C > ..9000`,
		// opensc-tool: what is it; does it know this or that application.
		"OpenSC": `
			00A4040006A00000000101 > 6A82
			00A404000CA000000063504B43532D3135 > 6A82
			00A4000C023F00 > 9000
			00A4000C023F00 > 9000
			00CA010100 > 6A88
			00CA010300 > 6A88
			00A4020C02 2F00 > 6A86
			80CA9F7F00 > 6C2D
			0084000008 > ..9000`,
		// A telephone: capabilities, files of the start, identities, status.
		"telephone": `
			00A40004023F00 > 612E
			00A40804022FE2 > 6119
			00B000000A > ..9000
			00A40804022F05 > 6A82
			00A40804022F08 > 6A82
			8010000014 FFFFFFFF7F0F00DFFF00001FE200000000000000 > 9000
			00A4040C08A0000000871002FF > 9000
			80F2010C00 > 9000
			0020000100 > 63C3
			002000010831323334FFFFFFFF > 9000
			00A408040 47FFF6F07 > 6119
			00B0000009 > ..9000
			00B0840010 > ..9000
			00B0830004 > 000000029000
			00A40804067FFF5FC04F0A > 6119
			00B0000004 > F1FFFFFF9000
			8078000100 > 6C0F
			807800010F > ..9000
			0070000000 > 6C01
			0070000001 > 019000
			01A4040408A0000000871004FF > 6135
			01C0000035 > ..9000
			81F2000C00 > 9000
			0170800100 > 9000
			80F2020C00 > 9000`,
	} {
		t.Run(name, func(t *testing.T) {
			c := card.Clone()
			c.Reset()
			play(t, c, script)
		})
	}
}

// What GlobalPlatformPro sends: find the card manager without a name, read its
// data, open the channel without asking which keys, list, load, install, delete.
func TestManagementTools(t *testing.T) {
	for _, direct := range []bool{false, true} {
		c := built(t, direct)
		r := reader{c}
		play(t, r, `
			00A4040000 > 6F108408A000000151000000A5049F6501FF9000
			80CA9F7F00 > ..9000
			80CA004200 > 4204414B414E9000
			80CA004500 > 4508000000000000004D9000
			80CA006600 > ..9000
			80CA006700 > ..9000
			80CA00E000 > ..9000
			80CA00CF00 > CF0A000000000000004D00009000
			80CA00C100 > ..9000
			80CAFF2100 > ..9000
			00A4040008A000000003000000 00 > 6A82
			00A4040008A000000151000000 00 > ..9000`)
		s := uicc.NewSession(r)
		for tag, parse := range map[uicc.Tag]func([]byte) error{
			simos.TagCPLC: func(b []byte) error { _, err := gp.ParseCPLC(b); return err },
			simos.TagKeys: func(b []byte) error { _, err := gp.ParseKeyInfo(b); return err },
			simos.TagCard: func(b []byte) error { _, err := gp.ParseCardData(b); return err },
		} {
			b, err := s.GetData(t.Context(), tag)
			if err == nil {
				err = parse(b)
			}
			if err != nil {
				t.Errorf("%X: %v", uint32(tag), err)
			}
		}
		for _, level := range []scp.Level{scp.CMAC, scp.Commands, scp.Full} {
			channel, err := scp.Open(t.Context(), r, keySet(t, 0x50), scp.Options{Level: level})
			if err != nil {
				t.Fatal(err)
			}
			for _, cmd := range loadCommands(packageAID, nil, bytes.Join(capFile(packageAID), nil)) {
				if sw := do(t, channel, cmd); sw != uicc.SWOK {
					if n, more := sw.More(); !more || n != 1 {
						t.Fatalf("%02X %02X: %v", cmd.INS, cmd.P1, sw)
					}
				}
			}
			for scope, want := range map[gp.Scope]int{0x80: 1, 0x40: 3, 0x20: 1, 0x10: 1} {
				entries, err := gp.Registry(t.Context(), channel, scope, nil)
				if err != nil || len(entries) != want {
					t.Errorf("GET STATUS %02X: %d entries, want %d, %v", byte(scope), len(entries), want, err)
				}
			}
			for _, cmd := range []uicc.Command{
				installCommand(0x0C, packageAID, appletAID, appletAID, 0),
				{CLA: 0x80, INS: uicc.INSDelete, Data: uicc.AppendTLV(nil, 0x4F, appletAID...), Le: 256},
				{CLA: 0x80, INS: uicc.INSDelete, P2: 0x80, Data: uicc.AppendTLV(nil, 0x4F, packageAID...), Le: 256},
			} {
				if sw := do(t, channel, cmd); sw != uicc.SWOK {
					t.Errorf("%02X: %v", cmd.INS, sw)
				}
			}
		}
	}
}
