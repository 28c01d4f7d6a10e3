package order

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/document"
	"ankan/format"
	"ankan/hsm"
	"ankan/sim"
)

func contract(t testing.TB) *Contract {
	t.Helper()
	var c *Contract
	for name, doc := range files(t, "contract/*.yaml") {
		var err error
		if c, err = ParseContract(name, doc); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestContract(t *testing.T) {
	c := contract(t)
	if got := c.Licence.ValidUntil.UTC().Format(time.RFC3339); got != "2036-03-31T18:30:00Z" {
		t.Errorf("licence ends %s, want the end of 31 March in India", got)
	}
	if c.DestructionLimit != 720*time.Hour || !c.Remake || c.Network.MNCDigits() != 2 || c.Order != layout("dialect1") || len(c.Responses) != 1 || len(c.Responses[0].Columns) != 10 ||
		c.Ranges[1].IMSI.Last != 404990000199999 || c.Reading().Variant != sim.Digits18|sim.CheckDigit {
		t.Errorf("%+v", c)
	}
	for quantity, want := range map[int]int{1: 10, 1000: 10, 1001: 11, 5000: 50} {
		if got := c.Spares.For(quantity); got != want {
			t.Errorf("%d cards: %d spares, want %d", quantity, got, want)
		}
	}
	if p, err := c.Product("USIM-5G"); err != nil || p.OS != "ankan-reference 1.0" {
		t.Error(p, err)
	}
	if _, err := c.Product("none"); err == nil {
		t.Error("a product that is not there")
	}
}

func TestContractRefused(t *testing.T) {
	good := string(files(t, "contract/*.yaml")["bharat-demo.yaml"])
	for want, change := range map[string][2]string{
		`c:2:1: unknown field "colour"`:                          {"contract: BD", "colour: red\ncontract: BD"},
		`c:3:1: mapping key "contract" already defined`:          {"contract: BD", "contract: X\ncontract: BD"},
		"c:2:1: contract is missing":                             {"contract: BD-2026-01\n", ""},
		"c:2:11: contract has '/' as character 3":                {"BD-2026-01", "BD/2026"},
		"c:4:11: customer has 121 bytes, want at most":           {"Bharat Demo Mobile Ltd #", strings.Repeat("x", 121) + " #"},
		`c:4:11: customer is not one line of plain text`:         {"Bharat Demo Mobile Ltd #", `"a\nb" #`},
		"c:7:3: manufacturer.registration is missing":            {"  registration: U26000DL2020PTC000001\n", ""},
		"c:7:3: manufacturer.partner is missing":                 {"  partner: ankan-cards\n", ""},
		"c:34:22: transport_keys[0].kcv wrong key check value":   {"C35280 GP", "C35280"},
		`c:14:9: licence.kind is "ISP", want one of CMTS`:        {"UL #", "ISP #"},
		"c:16:18: licence.service_areas is empty":                {"[Delhi, Haryana, Uttar Pradesh (West)]", "[]"},
		`c:17:16: licence.valid_until is "March", want a`:        {"2036-03-31", "March"},
		`c:20:34: products[0].form_factor is "5FF", want`:        {"2FF/3FF/4FF", "5FF"},
		"c:21:12: products[1].name USIM-5G is there twi":         {"profiles:", "  - {name: USIM-5G, form_factor: 4FF, chip: c, os: o}\nprofiles:"},
		"c:24:13: profiles[0].digest is not a SHA-256":           {"5feceb", "5FECEB"},
		`c:25:14: profiles[0].product "X" is not among`:          {"product: USIM-5G", "product: X"},
		"c:25:16: profiles[0].algorithm algorithm COMP128v1 is":  {"    product: USIM-5G", "    algorithm: COMP128v1\n    product: USIM-5G"},
		"c:25:16: profiles[0].algorithm TUAK: K has 0 bits, wan": {"    product: USIM-5G", "    algorithm: TUAK\n    product: USIM-5G"},
		"c:20:34: products[0].algorithms[0] is \"COMP128\", wan": {"form_factor: 2FF/3FF/4FF", "algorithms: [COMP128], form_factor: 2FF/3FF/4FF"},
		"c:22:5: profiles[0].algorithm is MILENAGE, the oper":    {"form_factor: 2FF/3FF/4FF", "algorithms: [TUAK, XOR], form_factor: 2FF/3FF/4FF"},
		`c:28:12: files.dialect layout "x" is unknown`:           {"dialect: dialect1", "dialect: x"},
		"c:29:16: files.order_iccid ICCID variant is":            {"order_iccid: 18 check", "order_iccid: check 18"},
		"c:30:19: files.response_iccid has a body of ano":        {"response_iccid: 18 check padded", "response_iccid: 19 check"},
		"c:30:19: files.response_iccid ICCID variant":            {"response_iccid: 18 check padded", "response_iccid: any"},
		"c:31:13: files.max_rows is -1, want 1 to 100000":        {"  columns:", "  max_rows: -1\n  columns:"},
		"c:31:13: files.max_rows is 100000001, want 1 to":        {"  columns:", "  max_rows: 100000001\n  columns:"},
		"c:31:12: files.columns column KI would carry ke":        {"EKI", "KI"},
		"c:34:53: transport_keys[0].algorithm is \"DES\", want AES-128, AES-256, or under a waiver 3DES or 3DES-3KEY; single DES": {"{index: 11, kcv: C35280 GP}", "{index: 11, kcv: C35280 GP,          algorithm: DES}"},
		"c:34:53: transport_keys[0].algorithm is 3DES, which is refused without a waiver; want waiver":                            {"{index: 11, kcv: C35280 GP}", "{index: 11, kcv: C35280 ECB-ZEROS,   algorithm: 3DES}"},
		"c:34:22: transport_keys[0].kcv is of the method GP, a key of 3DES has one of ECB-ZEROS":                                  {"{index: 11, kcv: C35280 GP}", "{index: 11, kcv: C35280 GP, algorithm: 3DES, waiver: {until: 2027-03-31, reason: old}}"},
		"c:34:54: transport_keys[0].waiver is there, but the key is of AES":                                                       {"{index: 11, kcv: C35280 GP}", "{index: 11, algorithm: AES-256,         waiver: {until: 2027-03-31, reason: old}}"},
		"c:34:55: transport_keys[0].waiver.until is \"soon\", want a date":                                                        {"{index: 11, kcv: C35280 GP}", "{index: 11, algorithm: 3DES,      waiver: {until: soon, reason: old}}"},
		"c:34:45: transport_keys[0].waiver.until is \"\", want a date":                                                            {"{index: 11, kcv: C35280 GP}", "{index: 11, algorithm: 3DES, waiver:   {reason: old}}"},
		"c:34:45: transport_keys[0].waiver.reason is missing":                                                                     {"{index: 11, kcv: C35280 GP}", "{index: 11, algorithm: 3DES, waiver:   {until: 2027-03-31}}"},
		"c:34:13: transport_keys[0].index is 0 (not encr":                                                                         {"index: 11", "index: 0"},
		"c:34:13: transport_keys[0].index is 100, want 1":                                                                         {"index: 11", "index: 100"},
		"c:35:13: transport_keys[1].index 11 is there tw":                                                                         {"index: 12", "index: 11"},
		"c:33:17: transport_keys is empty: keys would no":                                                                         {"\n  - {index: 11, kcv: C35280 GP}\n  - {index: 12, kcv: C6A13B GP}", " []"},
		"c:37:15: iccid_issuer does not start with 89 (E":                                                                         {`"8991999"`, `"7991999"`},
		"c:38:16: network.mcc has 2 digits, want 3":                                                                               {`mcc: "404"`, `mcc: "40"`},
		"c:40:12: ranges[0].iccid is not first-last, two":                                                                         {"899199900000000001-", "89919990000000001-"},
		"c:40:12: ranges[0].iccid does not start with 89":                                                                         {"899199900000000001-", "899199800000000001-"},
		"c:41:11: ranges[0].imsi does not start with 404":                                                                         {"404990000000001-404990000009999", "405990000000001-405990000009999"},
		"c:41:11: ranges[0].imsi ends before it starts":                                                                           {"404990000000001-404990000009999", "404990000000001-404990000000000"},
		"c:45:15: max_quantity is 0, want 1 to 100000000":                                                                         {"max_quantity: 5000", "max_quantity: 0"},
		"c:46:10: spares is 101 percent":                                                                                          {"percent: 1,", "percent: 101,"},
		"c:46:10: spares are none, but reject is remake":                                                                          {"percent: 1, min: 10", "percent: 0, min: 0"},
		`c:47:9: reject is "shrug", want remake or retir`:                                                                         {"reject: remake", "reject: shrug"},
		`c:48:20: destruction_limit is "400d", want hour`:                                                                         {"30d", "400d"},
		`c:48:20: destruction_limit is "0h", want hours`:                                                                          {"30d", "0h"},
		"c:49:9: alarms is empty: nobody would be told":                                                                           {`[noc@bharat-demo.example, "+911140000000"]`, "[]"},
		"c:1:1: 2 YAML documents, want 1":                                                                                         {"contract: BD", "contract: X\n---\ncontract: BD"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Errorf("%s: the test changes nothing", want)
			continue
		}
		_, err := ParseContract("c", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := ParseContract("c", nil); err == nil {
		t.Error("an empty file is a contract")
	}
	if _, err := ParseContract("c", make([]byte, document.MaxSize+1)); err == nil {
		t.Error("an endless file is a contract")
	}
	for key, next := range map[string]string{"products": "profiles", "profiles": "\nfiles"} {
		head, rest, _ := strings.Cut(good, key+":")
		_, tail, _ := strings.Cut(rest, next+":")
		_, err := ParseContract("c", []byte(head+key+": []\n"+next+":"+tail))
		if err == nil || !strings.Contains(err.Error(), key+" is empty") {
			t.Errorf("%s: %v", key, err)
		}
	}
	noRange, _, _ := strings.Cut(good, "ranges:")
	_, tail, _ := strings.Cut(good, "max_quantity")
	if _, err := ParseContract("c", []byte(noRange+"ranges: []\nmax_quantity"+tail)); err == nil || !strings.Contains(err.Error(), "ranges is empty: the operator owns no identity") {
		t.Error(err)
	}
}

// One good and one bad sample for each rule.
func TestCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := contract(t)
	parse := func(text string) *Input {
		t.Helper()
		in, err := c.Reading().ParseInput("o", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	if errs := c.Check(parse(base(t)), now); len(errs) > 0 {
		t.Fatal(errs)
	}
	change := func(old, new string) *Input { return parse(strings.Replace(base(t), old, new, 1)) }
	list := "IMSI:404990000000009\nSer_nb:" + iccidText(t, 9) + "\nIMSI:404990000050000\nSer_nb:" + iccidText(t, 50_000) + "\n"
	other, err := ParseInput("o", bytes.NewReader(files(t, "input/dialect2-range.inp")["dialect2-range.inp"]))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		in   *Input
		at   time.Time
		rule string
	}{
		"licence 20-000/2026-AS of bharat-demo was valid until 2036-03-31, want one in force": {parse(base(t)), time.Date(2036, 3, 31, 18, 30, 0, 0, time.UTC), "licence"},
		`customer is "Footel", want "Bharat Demo Mobile Ltd"`:                                 {change("Customer:        Bharat Demo Mobile Ltd", "Customer: Footel"), now, "customer"},
		"profile IN-5G-USIM 1.1 is not agreed, want one of: IN-5G-USIM 1.0":                   {change("Profile:         1.0", "Profile: 1.1"), now, "profile"},
		"quantity is 5001, want at most 5000":                                                 {change("1000\n", "5001\n"), now, "quantity"},
		"transport key 13 is not agreed, want one of: 11, 12":                                 {change("11\n", "13\n"), now, "transport key"},
		"IMSI 404990000010000 of card 201 is outside the operator's ranges":                   {change("IMSI:404990000000001", "IMSI:404990000009800"), now, "range"},
		"ICCID " + iccidText(t, 50_000) + " of card 2 is outside the operator's ranges":       {parse(strings.Replace(base(t)[:strings.Index(base(t), "IMSI:")], "1000\n", "2\n", 1) + list), now, "range"},
		"file is of dialect2, want the layout of the contract":                                {other, now, "dialect"},
	}
	for want, tt := range tests {
		errs := c.Check(tt.in, tt.at)
		found := false
		for _, err := range errs {
			var r *Refusal
			found = found || errors.As(err, &r) && r.Error() == want && r.Rule == tt.rule && r.Clause != ""
		}
		if !found || tt.rule != "dialect" && len(errs) > 12 {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
	// A key of triple DES, as long as its waiver lasts, and in columns that take it.
	tdes := func(kcv, row string) *Contract {
		doc := strings.Replace(string(files(t, "contract/*.yaml")["bharat-demo.yaml"]), "{index: 11, kcv: C35280 GP}", "{index: 11, algorithm: 3DES-3KEY, waiver: {until: 2026-11-30, reason: an old HLR}}", 1)
		l, err := format.Parse("own.yaml", []byte("layout: own\nabout: own\noutputs:\n  - name: out\n    head: |\n      ${quantity} "+kcv+"\n    row: ${iccid} ${imsi} "+row+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseContract("c", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		c.Responses = []ResponseFile{{Output: l.Outputs()[0], Columns: l.Outputs()[0].Columns()}}
		return c
	}
	end := time.Date(2026, 11, 30, 18, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		kcv, row string
		at       time.Time
		want     string
	}{
		{"${transport_kcv}", "${k | seal}", now, ""}, {"${transport_kcv | method(ECB-ZEROS)}", "${k | seal(3des-cbc)}", end.Add(-1), ""},
		{"", "${k | seal}", end, "transport key 11 is 3DES-3KEY, and its waiver ended on 2026-11-30; agree on a later end"},
		{"", "${k | seal(cbc)}", now, "column k is encrypted by AES, and transport key 11 is 3DES-3KEY; order under another key"},
		{"${transport_kcv | method(GP)}", "${k | seal}", now, "own/out: response: "},
	} {
		errs := tdes(tt.kcv, tt.row).Check(parse(base(t)), tt.at)
		if (tt.want == "") != (len(errs) == 0) || len(errs) > 1 || tt.want != "" && !strings.HasPrefix(errs[0].Error(), tt.want) {
			t.Errorf("%s %s: got %v, want %q", tt.kcv, tt.row, errs, tt.want)
		}
	}
	aes := *c
	l, err := format.Parse("own.yaml", []byte("layout: own\nabout: own\noutputs:\n  - name: out\n    row: ${iccid} ${imsi} ${k | seal(3des)}\n"))
	if err != nil {
		t.Fatal(err)
	}
	aes.Responses = []ResponseFile{{Output: l.Outputs()[0], Columns: l.Outputs()[0].Columns()}}
	if errs := aes.Check(parse(base(t)), now); len(errs) != 1 || errs[0].Error() != "column k is encrypted by 3DES, and transport key 11 is AES; order under another key, or agree on another layout" {
		t.Errorf("got %v", errs)
	}
	// What the module has is what was agreed.
	for _, tt := range []struct {
		ref  TransportKeyRef
		a    hsm.Algorithm
		want string
	}{
		{TransportKeyRef{}, hsm.AES128, ""}, {TransportKeyRef{}, hsm.AES256, ""}, {TransportKeyRef{Algorithm: hsm.TDES}, hsm.TDES, ""},
		{TransportKeyRef{Index: 3}, hsm.TDES, "transport key 3 is 3DES, the contract says AES; agree on one of them"},
		{TransportKeyRef{Algorithm: hsm.AES256}, hsm.AES128, "is AES-128, the contract says AES-256"},
		{TransportKeyRef{Algorithm: hsm.TDES3}, hsm.TDES, "is 3DES, the contract says 3DES-3KEY"}, {TransportKeyRef{Algorithm: hsm.TDES}, hsm.AES256, "is AES-256, the contract says 3DES"},
	} {
		if err := tt.ref.Fits(tt.a); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v of %s: %v, want %q", tt.ref, tt.a, err, tt.want)
		}
	}
	// What the order says does not fit into the response, or is not there for it.
	for want, doc := range map[string]string{
		"own/out: response: customer has ' ' as character 7, where the layout ends it": "      ${customer} ${quantity}\n    row: ${iccid} ${imsi}\n",
		"own/out: column msisdn: the order gives no MSISDNs":                           "      ${quantity}\n    row: ${iccid} ${imsi} ${msisdn}\n",
		"own/out: response: transport_key.auc has 0 characters, want 1 to 2":           "      ${transport_key.auc} ${quantity}\n    row: ${iccid} ${imsi}\n",
		"own/out: name of the response: version has 3 characters, want at most 2":      "      ${quantity}\n    row: ${iccid} ${imsi}\n    file: ${version | right(2)}\n",
	} {
		l, err := format.Parse("own.yaml", []byte("layout: own\nabout: own\noutputs:\n  - name: out\n    head: |\n"+doc))
		if err != nil {
			t.Error(err)
			continue
		}
		own := *c
		own.Responses = []ResponseFile{{Output: l.Outputs()[0], Columns: l.Outputs()[0].Columns()}}
		if errs := own.Check(parse(base(t)), now); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
	// Every identity is outside: ten are named.
	if errs := c.Check(change("IMSI:404990000000001", "IMSI:404980000000001"), now); len(errs) != 11 {
		t.Errorf("%d errors, want 10 and the hint that there may be more", len(errs))
	}
	// The zero contract allows nothing.
	seen := map[string]bool{}
	for _, err := range new(Contract).Check(parse(base(t)), now) {
		var r *Refusal
		errors.As(err, &r)
		seen[r.Rule] = true
	}
	if len(seen) != len(rules()) {
		t.Errorf("the zero contract refuses by %v only", seen)
	}
}

func iccidText(t testing.TB, n int) string {
	t.Helper()
	id, err := sim.ICCIDFromBody(fmt.Sprintf("8991999%011d", n))
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func FuzzParseContract(f *testing.F) {
	for _, doc := range files(f, "contract/*.yaml") {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := ParseContract("c", doc)
		var faults Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatalf("%T has no place", err)
		}
		if err == nil && (c.MaxQuantity < 1 || len(c.Responses) == 0 || c.DestructionLimit <= 0 || len(c.Ranges) == 0) {
			t.Fatalf("accepted: %+v", c)
		}
	})
}

// A layout that reads values out of the file's name finds it in what was sent.
func TestSentName(t *testing.T) {
	csv := &Contract{Order: layout("csv")}
	o := Order{ID: "op.1-0123456789ab", Name: "B0001_11.csv"}
	if got := csv.SentName(o); got != "op.1-0123456789ab.B0001_11.csv.inp.pgp" {
		t.Error(got)
	}
	if got := (&Contract{Order: layout("dialect1")}).SentName(o); got != "op.1-0123456789ab.inp.pgp" {
		t.Error(got)
	}
	const text = "ICCID,IMSI,MSISDN,PROFILE\n8991999000000000013,404990000000001,919000000001,usim\n8991999000000000021,404990000000009,919000000007,usim\n"
	for _, name := range []string{"B0001_11.csv", "B0001_11.csv.inp.pgp", "B0001_11.csv.INP.asc", csv.SentName(o)} {
		in, err := csv.Reading().ParseInput(name, strings.NewReader(text))
		if err != nil {
			t.Error(err)
			continue
		}
		if in.Value(Batch) != "B0001" || in.TransportKey() != 11 || in.Quantity() != 2 || in.At(1).MSISDN.String() != "919000000007" {
			t.Errorf("%s: batch %q, key %d, %d cards", name, in.Value(Batch), in.TransportKey(), in.Quantity())
		}
		var again strings.Builder
		if err := in.Render(&again); err != nil || again.String() != text {
			t.Errorf("%v: rendered as\n%s", err, again.String())
		}
	}
	if _, err := csv.Reading().ParseInput("B0001.csv", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "the file's name") {
		t.Error(err)
	}
}

// What a contract may say of layouts.
func TestContractLayouts(t *testing.T) {
	good := string(files(t, "contract/*.yaml")["bharat-demo.yaml"])
	const was = "  dialect: dialect1\n"
	own, err := format.Parse("own.yaml", []byte("layout: own\nabout: own\noutputs:\n  - {name: a, row: \"${iccid}\", max_rows: 700, file: \"${part}\"}\n  - {name: b, row: \"${imsi};${k | seal}\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	noColumns := func(doc string) string {
		head, rest, _ := strings.Cut(doc, "  columns:")
		_, rest, _ = strings.Cut(rest, "\n")
		return head + rest
	}
	c, err := ParseContract("c", []byte(noColumns(strings.Replace(good, was, "  order: dialect2\n  responses: [dialect2, own, three-files/server]\n  max_rows: 6000\n", 1))), own)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range c.Responses {
		kinds = append(kinds, fmt.Sprintf("%s/%s %d", f.Output.Layout().Name(), f.Output.Name(), f.MaxRows))
	}
	if got := strings.Join(kinds, ", "); c.Order.Name() != "dialect2" || got != "dialect2/response 6000, own/a 700, own/b 6000, three-files/server 5000" {
		t.Errorf("orders of %s, responses %s", c.Order.Name(), got)
	}
	// Which file of a response is which follows from its number.
	for n, want := range map[int]string{1: "dialect2/response 1 of 2", 2: "dialect2/response 2 of 2", 3: "own/a 1 of 9", 11: "own/a 9 of 9", 12: "own/b 1 of 2", 14: "three-files/server 1 of 2", 15: "three-files/server 2 of 2"} {
		f, part, parts, err := c.ResponseOf(n, 15, 10_000)
		if got := fmt.Sprintf("%s/%s %d of %d", f.Output.Layout().Name(), f.Output.Name(), part, parts); err != nil || got != want {
			t.Errorf("file %d of 15 is %s (%v), want %s", n, got, err, want)
		}
	}
	for _, n := range [][2]int{{1, 3}, {0, 15}, {16, 15}, {1, 1000}} {
		if _, _, _, err := c.ResponseOf(n[0], n[1], 10_000); err == nil {
			t.Errorf("file %d of %d is of the response", n[0], n[1])
		}
	}
	for want, files := range map[string]string{
		"c:28:12: files.dialect and order are both there, want one":          was + "  order: dialect1\n",
		"files.order layout agsui has no order files":                        "  order: agsui\n  responses: [dialect1]\n",
		"files.responses[0] layout \"none\" is unknown, want one of":         was + "  responses: [none]\n",
		"files.responses[0] layout three-files has no output \"none\"":       was + "  responses: [three-files/none]\n",
		"files.responses[1] dialect1/response is there twice":                was + "  responses: [dialect1, dialect1/response]\n",
		"files.responses[0] dialect2 begins with the order's own lines":      was + "  responses: [dialect2]\n",
		"files.responses[0] layout orders has no responses":                  was + "  responses: [orders]\n",
		"files.columns is there, but no response lets its columns be chosen": was + "  responses: [json]\n",
	} {
		orders, err := format.Parse("o.yaml", []byte("layout: orders\nabout: o\norder: {style: exact, identities: list, head: \"${batch} ${profile} ${transport_key}\", row: \"${iccid} ${imsi}\"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseContract("c", []byte(strings.Replace(good, was, files, 1)), orders)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	_, err = ParseContract("c", []byte(strings.Replace(good, "/EKI/", "/EKI/Code ADM/", 1)))
	if err == nil || !strings.Contains(err.Error(), "files.columns Code ADM is a word that nobody gives") {
		t.Error(err)
	}
}

// An order in a layout that says no customer is its signer's; one that says no version
// is of a profile that is agreed without, or of the version that the layout sets.
func TestCheckWhatLayoutsSay(t *testing.T) {
	good := string(files(t, "contract/*.yaml")["bharat-demo.yaml"])
	const was = "  dialect: dialect1\n"
	for want, set := range map[string]string{
		"": "profile: IN-5G-USIM, version: \"1.0\"",
		"profile IN-5G-USIM is not agreed, want one of: IN-5G-USIM 1.0; orders of layout bare say no version: let the layout set it": "profile: IN-5G-USIM",
		`customer is "Footel", want "Bharat Demo Mobile Ltd"`:                                                                        "profile: IN-5G-USIM, version: \"1.0\", customer: Footel",
	} {
		bare, err := format.Parse("bare.yaml", []byte("layout: bare\nabout: b\norder:\n  style: exact\n  identities: first\n  set: {"+set+"}\n  head: |\n    ${batch};${transport_key};${quantity}\n  row: |\n    ${iccid};${imsi}\n"))
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(good, "  columns:")
		_, rest, _ = strings.Cut(rest, "\n")
		c, err := ParseContract("c", []byte(strings.Replace(head+rest, was, "  order: bare\n  responses: [three-files/server]\n", 1)), bare)
		if err != nil {
			t.Fatal(err)
		}
		in, err := c.Reading().ParseInput("o", strings.NewReader("B1;11;10\n8991999000000000013;404990000000001\n"))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, err := range c.Check(in, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
			if text := err.Error(); strings.Contains(text, "customer") || strings.Contains(text, "profile") {
				found = append(found, text)
			}
		}
		if got := strings.Join(found, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("set {%s}: got %q, want %q", set, got, want)
		}
	}
}
