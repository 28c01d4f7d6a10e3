package gp

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/scp"
	"ankan/uicc"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

const (
	packageAID  = "\xA0\x00\x00\x00\x62\x03\x01\x0C\x01"
	appletAID   = "\xA0\x00\x00\x00\x62\x03\x01\x0C\x01\x01"
	instanceAID = "\xA0\x00\x00\x00\x62\x03\x01\x0C\x01\x02"
	domainAID   = "\xA0\x00\x00\x01\x51\x00\x00\x00"
)

func encode(t *testing.T, c uicc.Command) string {
	t.Helper()
	return hex.EncodeToString(c.Append(nil))
}

func TestInstall(t *testing.T) {
	pkg, applet, instance, domain := []byte(packageAID), []byte(appletAID), []byte(instanceAID), []byte(domainAID)
	one := func(i *Install, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c := i.Commands()
		if len(c) != 1 {
			t.Fatalf("%d commands, want one", len(c))
		}
		return encode(t, c[0])
	}
	for name, c := range map[string]struct{ got, want string }{
		"load": {one(InstallForLoad(pkg, domain, nil, nil)),
			"80e6020016 09a00000006203010c01 08a000000151000000 00 00 00 00"},
		"load into the channel's domain": {one(InstallForLoad(pkg, nil, []byte{1, 2}, []byte{0xEF, 0})),
			"80e6020012 09a00000006203010c01 00 020102 02ef00 00 00"},
		"install and make selectable": {one(InstallForInstall(pkg, applet, instance, CardReset, nil, true)),
			"80e60c0026 09a00000006203010c01 0aa00000006203010c0101 0aa00000006203010c0102 0104 02c900 00 00"},
		"install": {one(InstallForInstall(pkg, applet, instance, SecurityDomain|TrustedPath, []byte{0xC9, 1, 5}, false)),
			"80e6040029 09a00000006203010c01 0aa00000006203010c0101 0aa00000006203010c0102 03808000 03c90105 00 00"},
		"make selectable": {one(InstallForMakeSelectable(instance, 0, nil)),
			"80e6080011 00 00 0aa00000006203010c0102 0100 00 00 00"},
		"extradition": {one(InstallForExtradition(domain, instance, nil)),
			"80e6100018 08a000000151000000 00 0aa00000006203010c0102 00 00 00 00"},
		"registry update": {one(InstallForRegistryUpdate(nil, instance, CardLock, nil)),
			"80e6400011 00 00 0aa00000006203010c0102 0110 00 00 00"},
		"registry update with move": {one(InstallForRegistryUpdate(domain, instance, CardLock, nil)),
			"80e6400019 08a000000151000000 00 0aa00000006203010c0102 0110 00 00 00"},
		"personalization": {one(InstallForPersonalization(instance)),
			"80e6200010 00 00 0aa00000006203010c0102 00 00 00 00"},
	} {
		if want := strings.ReplaceAll(c.want, " ", ""); c.got != want {
			t.Errorf("%s: %s, want %s", name, c.got, want)
		}
	}
	// A token comes last, and signs P1, P2, the length and all before it.
	i, err := InstallForLoad(pkg, domain, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(i.TokenData()), "0200"+"15"+"09a00000006203010c01"+"08a000000151000000"+"0000"; got != want {
		t.Errorf("token data %s, want %s", got, want)
	}
	i.Token = bytes.Repeat([]byte{7}, 128)
	if got, want := encode(t, i.Commands()[0])[:10], "80e6020097"; got != want {
		t.Errorf("with a token %s, want %s", got, want)
	}
	// Long data goes in several commands.
	i, err = InstallForInstall(pkg, applet, instance, 0, append([]byte{0xC9, 0x82, 1, 0x2C}, make([]byte, 300)...), true)
	if err != nil {
		t.Fatal(err)
	}
	all := i.Commands()
	if len(all) != 2 || all[0].P1 != 0x8C || all[1].P1 != 0x0C {
		t.Errorf("%d commands, P1 %02X %02X, want 2, 8C 0C", len(all), all[0].P1, all[len(all)-1].P1)
	}
	if d := i.TokenData(); d[2] != 0 || int(d[3])<<8|int(d[4]) != len(d)-5 {
		t.Errorf("token data begins %x", d[:6])
	}
}

func TestCommandsRefuse(t *testing.T) {
	good, short, long := []byte(domainAID), []byte("abcd"), make([]byte, 17)
	for name, f := range map[string]func() error{
		"load":              func() error { _, err := InstallForLoad(short, nil, nil, nil); return err },
		"load domain":       func() error { _, err := InstallForLoad(good, long, nil, nil); return err },
		"install":           func() error { _, err := InstallForInstall(good, good, short, 0, nil, true); return err },
		"privileges":        func() error { _, err := InstallForInstall(good, good, good, 1<<24, nil, true); return err },
		"selectable":        func() error { _, err := InstallForMakeSelectable(short, 0, nil); return err },
		"selectable rights": func() error { _, err := InstallForMakeSelectable(good, 1<<24, nil); return err },
		"extradition":       func() error { _, err := InstallForExtradition(nil, good, nil); return err },
		"registry":          func() error { _, err := InstallForRegistryUpdate(nil, short, 0, nil); return err },
		"registry domain":   func() error { _, err := InstallForRegistryUpdate(short, good, 0, nil); return err },
		"registry rights":   func() error { _, err := InstallForRegistryUpdate(nil, good, 1<<24, nil); return err },
		"personalization":   func() error { _, err := InstallForPersonalization(nil); return err },
		"empty load file":   func() error { _, err := Load(nil, 0); return err },
		"block of 256":      func() error { _, err := Load(good, 256); return err },
		"block of -1":       func() error { _, err := Load(good, -1); return err },
		"257 blocks":        func() error { _, err := Load(make([]byte, 257), 1); return err },
		"store format":      func() error { _, err := StoreData(0x01, good, 0); return err },
		"store two formats": func() error { _, err := StoreData(StoreDGI|StoreTLV, good, 0); return err },
		"delete":            func() error { _, err := Delete(short, false, nil); return err },
		"delete token":      func() error { _, err := Delete(good, false, make([]byte, 250)); return err },
		"delete token data": func() error { _, err := DeleteTokenData(short, false); return err },
		"delete key":        func() error { _, err := DeleteKey(0, 0); return err },
		"set status":        func() error { _, err := SetStatus(Applications, 7, nil); return err },
		"set status scope":  func() error { _, err := SetStatus(LoadFiles, 7, good); return err },
		"registry prefix":   func() error { _, err := Registry(context.Background(), nil, Applications, long); return err },
	} {
		if err := f(); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %v, want ErrCommand", name, err)
		}
	}
}

func TestLoadAndStore(t *testing.T) {
	data := bytes.Repeat([]byte{0xC4}, 500)
	all, err := Load(data, 0)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d commands, %v, want 3", len(all), err)
	}
	var got []byte
	for i, c := range all {
		if want := byte(0); c.INS != 0xE8 || int(c.P2) != i || c.P1 != want && i < 2 {
			t.Errorf("command %d: %02X %02X %02X", i, c.INS, c.P1, c.P2)
		}
		got = append(got, c.Data...)
	}
	if all[2].P1 != 0x80 || !bytes.Equal(got, data) {
		t.Errorf("P1 of the last is %02X, data equal: %t", all[2].P1, bytes.Equal(got, data))
	}
	dgi := AppendDGI(AppendDGI(nil, DGI{0x8010, []byte{1, 2}}), DGI{0x9010, make([]byte, 300)})
	if got, want := hex.EncodeToString(dgi[:12]), "80100201029010ff012c0000"; got != want {
		t.Errorf("groupings %s, want %s", got, want)
	}
	store, err := StoreData(StoreDGI|StoreEncrypted, dgi, 255)
	if err != nil || len(store) != 2 || store[0].P1 != 0x68 || store[1].P1 != 0xE8 {
		t.Errorf("%v, %v, want P1 68 and E8", store, err)
	}
	first, rest, err := ReadDGI(dgi)
	if err != nil || first.ID != 0x8010 || !bytes.Equal(first.Value, []byte{1, 2}) {
		t.Errorf("%+v, %v", first, err)
	}
	if second, rest, err := ReadDGI(rest); err != nil || second.ID != 0x9010 || len(second.Value) != 300 || len(rest) != 0 {
		t.Errorf("%04X of %d, %v", second.ID, len(second.Value), err)
	}
	for _, s := range []string{"", "8010", "801002", "80100201", "8010ff", "8010ff0001aa", "8010ffffff", "8010ff00ff00"} {
		if _, _, err := ReadDGI(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("grouping %q: %v, want ErrData", s, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a grouping of 65535 bytes does not panic")
		}
	}()
	AppendDGI(nil, DGI{Value: make([]byte, 0xFFFF)})
}

func TestDeleteAndStatus(t *testing.T) {
	check := func(name, want string, c uicc.Command, err error) {
		t.Helper()
		if got := encode(t, c); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	c, err := Delete([]byte(domainAID), true, nil)
	check("delete", "80e400800a4f08a00000015100000000", c, err)
	c, err = Delete([]byte(domainAID), false, []byte{1, 2})
	check("delete with a token", "80e400000e4f08a0000001510000009e02010200", c, err)
	c, err = DeleteKey(1, 0x30)
	check("delete key", "80e4000006d00101d2013000", c, err)
	c, err = DeleteKey(0, 0x30)
	check("delete version", "80e4000003d2013000", c, err)
	c, err = SetStatus(IssuerDomain, CardSecured, nil)
	check("card secured", "80f0800f00", c, err)
	c, err = SetStatus(Applications, StateLocked, []byte(domainAID))
	check("lock", "80f0408008a000000151000000", c, err)
	check("get data", "80ca9f7f00", GetData(TagCPLC), nil)
	data, err := DeleteTokenData([]byte(domainAID), true)
	if want := "00800a4f08a000000151000000"; err != nil || hex.EncodeToString(data) != want {
		t.Errorf("token data %x, %v, want %s", data, err, want)
	}
}

func testKeys(t *testing.T) scp.KeySet {
	t.Helper()
	k := func(fill byte) []byte { return bytes.Repeat([]byte{fill}, 16) }
	keys, err := scp.NewKeySet(k(1), k(2), k(3))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestPutKey(t *testing.T) {
	static := testKeys(t)
	of := func(kind scp.KeyType, value []byte) scp.Key {
		t.Helper()
		k, err := scp.NewKey(kind, value)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := func(n int) scp.Key { return of(scp.KeyAES, bytes.Repeat([]byte{0x5A}, n)) }
	c, receipt, err := PutKey(static, 0, 0x31, 1, []scp.Key{k(32), k(32), k(32)})
	if err != nil || c.P1 != 0 || c.P2 != 0x81 || c.Data[0] != 0x31 {
		t.Fatalf("%+v, %v", c, err)
	}
	version, _, want, err := scp.ParsePutKey(c.Data, static)
	if err != nil || version != 0x31 || !bytes.Equal(receipt, want) {
		t.Errorf("card reads version %02X, %v, receipt %x, want %x", version, err, want, receipt)
	}
	des := []byte("0123456789abcdef")
	c, receipt, err = PutKey(static, 0x20, 0x20, 3, []scp.Key{of(scp.KeyDES, des)})
	if err != nil || c.P1 != 0x20 || c.P2 != 3 || len(c.Data) != 1+2+16+4 || c.Data[1] != 0x80 || c.Data[2] != 16 || c.Data[19] != 3 {
		t.Errorf("%x, %v", c.Data, err)
	}
	opened, err := static.OpenKey(nil, c.Data[3:19])
	if err != nil || !bytes.Equal(opened, des) {
		t.Errorf("card opens %x, %v", opened, err)
	}
	if kcv, err := scp.DESCheckValue(des); err != nil || !bytes.Equal(kcv[:], c.Data[20:]) || !bytes.Equal(receipt[1:], kcv[:]) {
		t.Errorf("check value %x, %v, want %x", c.Data[20:], err, kcv)
	}
	for name, f := range map[string]func() error{
		"version 0":    func() error { _, _, err := PutKey(static, 0, 0, 1, []scp.Key{k(16)}); return err },
		"version 80":   func() error { _, _, err := PutKey(static, 0, 0x80, 1, []scp.Key{k(16)}); return err },
		"replaces 80":  func() error { _, _, err := PutKey(static, 0x80, 1, 1, []scp.Key{k(16)}); return err },
		"identifier 0": func() error { _, _, err := PutKey(static, 0, 1, 0, []scp.Key{k(16)}); return err },
		"no keys":      func() error { _, _, err := PutKey(static, 0, 1, 1, nil); return err },
		"too many": func() error {
			_, _, err := PutKey(static, 0, 1, 1, []scp.Key{k(32), k(32), k(32), k(32), k(32), k(32)})
			return err
		},
		"AES of 15":    func() error { _, err := scp.NewKey(scp.KeyAES, make([]byte, 15)); return err },
		"no type":      func() error { _, err := scp.NewKey(0, make([]byte, 16)); return err },
		"single DES":   func() error { _, err := scp.NewKey(scp.KeyDES, make([]byte, 16)); return err },
		"the zero key": func() error { _, _, err := PutKey(static, 0, 1, 1, []scp.Key{{}}); return err },
		"a closed key": func() error {
			k := k(16)
			k.Close()
			k.Close()
			_, _, err := PutKey(static, 0, 1, 1, []scp.Key{k})
			return err
		},
		"DES of 24, AES": func() error {
			_, _, err := PutKey(static, 0, 1, 1, []scp.Key{of(scp.KeyDES, []byte("0123456789abcdefghijklmn"))})
			return err
		},
		"keys are closed": func() error { _, _, err := PutKey(scp.KeySet{}, 0, 1, 1, []scp.Key{k(16)}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// A teller answers GET STATUS in pieces.
type teller struct {
	answers []string
	sent    []string
	t       *testing.T
}

func (c *teller) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	c.sent = append(c.sent, hex.EncodeToString(cmd))
	if len(c.answers) == 0 {
		return nil, errors.New("card is gone")
	}
	a := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	return unhex(c.t, a), nil
}

func TestRegistry(t *testing.T) {
	ctx := context.Background()
	app := "e3 1d 4f 08 a000000151000000 9f70 01 07 c5 03 9efe80 cc 08 a000000151000000"
	file := "e3 24 4f 09 a00000006203010c01 9f70 01 01 ce 02 0203 84 0a a00000006203010c0101 cf 01 80 c4 00"
	card := &teller{t: t, answers: []string{app + "6310", file + "9000"}}
	all, err := Registry(ctx, card, Applications, []byte("\xA0\x00"))
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if want := []string{"80f24002044f02a00000", "80f24003044f02a00000"}; !slices.Equal(card.sent, want) {
		t.Errorf("sent %v, want %v", card.sent, want)
	}
	if e := all[0]; string(e.AID) != domainAID || e.State != 7 || e.Privileges != 0x9EFE80 || string(e.Domain) != domainAID {
		t.Errorf("first entry %+v", e)
	}
	if e := all[1]; e.State != 1 || e.Version != 0x0203 || len(e.Modules) != 1 || string(e.Modules[0]) != appletAID {
		t.Errorf("second entry %+v", e)
	}
	// A card that knows the old form alone.
	card = &teller{t: t, answers: []string{"6a86", "08a000000151000000 0f9e 9000"}}
	all, err = Registry(ctx, card, IssuerDomain, nil)
	if err != nil || len(all) != 1 || all[0].State != CardSecured || all[0].Privileges != 0x9E0000 {
		t.Errorf("%+v, %v", all, err)
	}
	card = &teller{t: t, answers: []string{"6a86", "09a00000006203010c01 0100 01 0aa00000006203010c0101 9000"}}
	all, err = Registry(ctx, card, LoadFileModules, nil)
	if err != nil || len(all) != 1 || len(all[0].Modules) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := Registry(ctx, &teller{t: t, answers: []string{"6a88"}}, LoadFiles, nil); err != nil || all != nil {
		t.Errorf("nothing there: %v, %v", all, err)
	}
	for name, c := range map[string]struct {
		answers []string
		want    error
	}{
		"refused":        {[]string{"6982"}, uicc.SWSecurity},
		"malformed":      {[]string{"e3059000"}, ErrData},
		"other tag":      {[]string{"e4009000"}, ErrData},
		"no AID":         {[]string{"e3049f7001019000"}, ErrData},
		"no life cycle":  {[]string{"e3074f05a0000000019000"}, ErrData},
		"bad entry":      {[]string{"e3024f059000"}, ErrData},
		"long state":     {[]string{"e3069f70030102039000"}, ErrData},
		"privileges":     {[]string{"e304c50200009000"}, ErrData},
		"version":        {[]string{"e303ce01019000"}, ErrData},
		"more, and none": {[]string{"6310"}, ErrData},
	} {
		if _, err := Registry(ctx, &teller{t: t, answers: c.answers}, Applications, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Registry(ctx, &teller{t: t}, Applications, nil); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("no answer: %v", err)
	}
	for _, s := range []string{"08a0", "05a00000000101", "05a0000000010100", "05a00000000101000105a0"} {
		if _, err := ParseRegistryOld(unhex(t, s), LoadFileModules); !errors.Is(err, ErrData) {
			t.Errorf("old form %s: %v, want ErrData", s, err)
		}
	}
}

func TestCPLC(t *testing.T) {
	b := unhex(t, "9f7f2a 4790 5168 4791 0078 3b00 0106 0a0b0c0d 0e0f 4812 0107 0000 0000 4814 0107 2a2b2c2d 0001 0002 03040506")
	c, err := ParseCPLC(b)
	if err != nil || c.Fabricator != 0x4790 || c.OS != 0x4791 || c.Serial != [4]byte{10, 11, 12, 13} || c.PrePersonalizationEquipment[3] != 0x2D || c.PersonalizationEquipment[3] != 6 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := ParseCPLC(b[3:]); err != nil {
		t.Errorf("without its tag: %v", err)
	}
	if _, err := ParseCPLC(b[4:]); !errors.Is(err, ErrData) {
		t.Errorf("41 bytes: %v, want ErrData", err)
	}
}

// The templates are published in GlobalPlatformPro's tests (TestGPKeyInfo).
func TestKeyInfo(t *testing.T) {
	for s, count := range map[string]int{
		"E020C00401018820C00402018820C00403018820C0060170A180A003C00401718010":   5,
		"E021C00401018010C00402018010C00403018010C00D0173FFA10080A0000301840100": 4,
		"E081B0C00A0120FF80001001000100C00A0220FF80001001000100C00A0320FF80001001000100C00A0101FF80001001000100C00A0201FF80001001000100C00A0301FF80001001000100C00A0102FF88001001000100C00E0202FF880010FF10000101000100C00A0302FF88001001000100C00A0103FF88001001000100C00E0203FF880010FF10000101000100C00A0303FF88001001000100C00A1403FF85001001000100C00A1503FF88001001000100": 14,
		"E002C000": 0,
	} {
		all, err := ParseKeyInfo(unhex(t, s))
		if err != nil || len(all) != count {
			t.Errorf("%s: %d keys, %v, want %d", s, len(all), err, count)
		}
	}
	all, err := ParseKeyInfo(unhex(t, "E020C00401018820C00402018820C00403018820C0060170A180A003C00401718010"))
	if err != nil || all[0].ID != 1 || all[0].Version != 1 || all[0].Components[0] != (KeyComponent{0x88, 32}) || all[3].Components[1] != (KeyComponent{0xA0, 3}) {
		t.Errorf("%+v, %v", all, err)
	}
	all, err = ParseKeyInfo(unhex(t, "E021C00401018010C00402018010C00403018010C00D0173FFA10080A0000301840100"))
	if k := all[3].Components; err != nil || len(k) != 2 || k[0] != (KeyComponent{0xA1, 128}) || k[1] != (KeyComponent{0xA0, 3}) {
		t.Errorf("%+v, %v", all, err)
	}
	for _, s := range []string{"", "E100", "E002C100", "E005C003010188", "E007C0050101881020", "E00BC0090101FF800010010001", "E008C0060101FF800010", "E000FF", "E003C00501"} {
		if _, err := ParseKeyInfo(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v, want ErrData", s, err)
		}
	}
}

func TestCardData(t *testing.T) {
	oid := "2a864886fc6b"
	d, err := ParseCardData(unhex(t, "663e 733c 0607"+oid+"01 600b0609"+oid+"020203 6309 0607"+oid+"03 640b 0609"+oid+"040370 640c 060a"+oid+"0402 8155"))
	if err != nil || !bytes.Equal(d.Version, []byte{2, 3}) || !slices.Equal(d.Channels, []ChannelInfo{{3, 0x70}, {2, 0xD5}}) {
		t.Errorf("%+v, %v", d, err)
	}
	for _, s := range []string{"", "6600", "66027300", "66047302067f", "660b73090607" + oid + "02"} {
		if _, err := ParseCardData(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v, want ErrData", s, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(unhex(f, "e3094f05a0000000019f700101"))
	f.Add(unhex(f, "E021C00401018010C00402018010C00403018010C00D0173FFA10080A0000301840100"))
	f.Add(unhex(f, "08a0000001510000000f9e"))
	f.Add(unhex(f, "66027300"))
	f.Add(unhex(f, "0a08010203040506070801"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseRegistry(b)
		ParseRegistryOld(b, LoadFileModules)
		ParseKeyInfo(b)
		ParseCardData(b)
		ParseCPLC(b)
		ParseConfirmation(b)
		if code, daps, err := ReadLoadFile(b); err == nil {
			if again, _, err := ReadLoadFile(LoadFile(code, daps...)); err != nil || !bytes.Equal(again, code) {
				t.Errorf("%x: %v", b, err)
			}
		}
		if d, rest, err := ReadDGI(b); err == nil {
			if again := append(AppendDGI(nil, d), rest...); !bytes.Equal(again, b) {
				t.Errorf("%x became %x", b, again)
			}
		}
	})
}
