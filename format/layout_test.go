package format

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"ankan/sim"
)

// whole is a layout that the refusals below spoil.
const whole = `layout: whole
about: an order and a response
columns: ["Ki = k | seal"]
order:
  style: exact
  identities: list
  head: |
    ${batch} ${profile} ${quantity} ${transport_key}
  row: |
    ${iccid};${imsi}
  tail: |
    END
outputs:
  - name: out
    file: ${batch}-${part}.txt
    max_rows: 10
    head: |
      ${batch};${quantity};${transport_kcv}
    row: |
      ${iccid};${imsi};${pin1};${k | seal}
    tail: |
      ${rows};${crc32}
  - name: table
    head: |
      ${columns}
    table:
      separator: ";"
      columns: [ICCID, IMSI, Ki, "PUK = puk1 | ascii_ff"]
`

func TestLayoutRefused(t *testing.T) {
	if _, err := Parse("l", []byte(whole)); err != nil {
		t.Fatal(err)
	}
	row := "${iccid};${imsi};${pin1};${k | seal}"
	for want, change := range map[string][2]string{
		// No key in clear, and no weak cipher, in any way.
		"l:20:24: outputs[0].row k would stand there in clear, want k | seal":                           {row, "${iccid};${imsi};${k}"},
		"l:20:24: outputs[0].row k goes through \"lower\" first and would stand there in clear":         {row, "${iccid};${imsi};${k | lower | seal}"},
		"l:20:24: outputs[0].row k goes through \"substring\" first":                                    {row, "${iccid};${imsi};${k | substring(0, 8)}"},
		"l:20:24: outputs[0].row opc would stand there in clear":                                        {row, "${iccid};${imsi};${opc}"},
		"l:20:24: outputs[0].row kic1 would stand there in clear":                                       {row, "${iccid};${imsi};${kic1}"},
		"l:20:24: outputs[0].row scp03_enc would stand there in clear":                                  {row, "${iccid};${imsi};${scp03_enc}"},
		"l:20:24: outputs[0].row ki is not a source: a key of the card is k or opc":                     {row, "${iccid};${imsi};${ki}"},
		"l:20:24: outputs[0].row op is not a source":                                                    {row, "${iccid};${imsi};${op | seal}"},
		"l:20:24: outputs[0].row seal: columns are encrypted under AES, or 3des-ecb and 3des-cbc":       {row, "${iccid};${imsi};${k | seal(auc, des)}"},
		"l:20:24: outputs[0].row seal: columns are encrypted under AES, or 3des-ecb and 3des-cbc for a": {row, "${iccid};${imsi};${k | seal(des-cbc)}"},
		"l:20:24: outputs[0].row seal: the initialisation vector is not 16":                             {row, "${iccid};${imsi};${k | seal(3des-cbc, 23232323232323232323232323232323)}"},
		"l:20:24: outputs[0].row seal: the initialisation vector is not 32":                             {row, "${iccid};${imsi};${k | seal(cbc, 00)}"},
		"l:20:24: outputs[0].row seal takes a receiver in small letters":                                {row, "${iccid};${imsi};${k | seal(AuC)}"},
		"l:20:24: outputs[0].row kcv wants one method of GP, CMAC, ECB-ZEROS":                           {row, "${iccid};${imsi};${k | kcv}"},
		"l:20:24: outputs[0].row kcv takes a key of the card":                                           {row, "${iccid};${imsi};${pin1 | kcv(GP)}"},
		"l:20:24: outputs[0].row seal takes a key of the card":                                          {row, "${iccid};${imsi};${adm1 | seal}"},
		"outputs[1].table.columns[3] column KIC1 would carry keys in clear":                             {"IMSI, Ki, ", "IMSI, EKI, KIC1, "},
		"columns[0] k would stand there in clear":                                                       {"k | seal\"]", "k\"]"},

		// What could not be read again.
		"l:20:7: outputs[0].row serial and iccid touch: nobody could tell":          {row, "${serial}${iccid};${imsi}"},
		"l:20:7: outputs[0].row serial is followed by \"1\", which may stand in it": {row, "${serial}1;${iccid};${imsi}"},
		"l:20:7: outputs[0].row left: fills with '7', which stands in values":       {row, "${serial | left(9, 7)};${iccid};${imsi}"},
		"l:20:7: outputs[0].row left: fills with '0', which stands in values":       {row, "${pin1 | left(8, 0)};${iccid};${imsi}"},
		"l:20:7: outputs[0].row right: would fill an ICCID":                         {row, "${iccid | right(20, F)};${imsi}"},
		"l:20:7: outputs[0].row left: fills to 10, imsi has 15":                     {row, "${imsi | left(10)};${iccid}"},
		"l:20:7: outputs[0].row left: fills to 0":                                   {row, "${serial | left(0)};${iccid}"},
		"l:20:7: outputs[0].row swap: takes an even number of characters":           {row, "${iccid | swap};${imsi}"},
		"l:20:7: outputs[0].row luhn: takes digits":                                 {row, "${acc | luhn};${imsi}"},
		"l:20:7: outputs[0].row ascii_ff: takes up to 8 characters":                 {row, "${imsi | ascii_ff};${iccid}"},
		"l:20:7: outputs[0].row lower: takes hexadecimal digits":                    {row, "${imsi | lower};${iccid}"},
		"l:20:7: outputs[0].row base64: takes whole bytes":                          {row, "${pin1 | base64};${iccid}"},
		"l:20:7: outputs[0].row ef: takes imsi":                                     {row, "${pin1 | ef};${iccid}"},
		"l:20:7: outputs[0].row group: parts by '1', which stands in values":        {row, "${imsi | group(4, 1)};${iccid}"},
		"l:20:7: outputs[0].row group wants a number":                               {row, "${imsi | group(0)};${iccid}"},
		"l:20:7: outputs[0].row substring: wants characters 15 to 16, imsi has 15":  {row, "${imsi | substring(14, 2)};${iccid}"},
		"l:20:7: outputs[0].row without: leaves out 15 characters":                  {row, "${imsi | without(404990000000001)};${iccid}"},
		"l:20:7: outputs[0].row without wants what the value starts with":           {row, "${imsi | without};${iccid}"},
		"l:20:7: outputs[0].row date: takes date or written":                        {row, "${imsi | date(YYMMDD)};${iccid}"},
		"l:20:7: outputs[0].row date: 'Q' in the pattern":                           {row, "${date | date(YYQ)};${iccid}"},
		"l:20:7: outputs[0].row date wants one pattern":                             {row, "${date | date};${iccid}"},
		"l:20:7: outputs[0].row last comes first":                                   {row, "${iccid | group(4) | last};${imsi}"},
		"l:20:7: outputs[0].row last takes iccid, imsi or msisdn":                   {row, "${pin1 | last};${iccid}"},
		"l:20:7: outputs[0].row iccid | last is the last number of a range":         {row, "${iccid | last};${imsi}"},
		"l:20:7: outputs[0].row fixed: wants 12 characters, imsi has 15":            {row, "${imsi | fixed(12)};${iccid}"},
		"l:20:7: outputs[0].row thousands: takes a number":                          {row, "${imsi | thousands};${iccid}"},
		"l:20:7: outputs[0].row thousands parts by one character":                   {row, "${serial | thousands(00)};${iccid}"},
		"l:20:7: outputs[0].row as wants 1 to 100 pairs":                            {row, "${profile | as(a)};${iccid}"},
		"l:20:7: outputs[0].row as has the value \"a\" twice":                       {row, "${profile | as(a, b, a, c)};${iccid}"},
		"l:20:7: outputs[0].row as has the word \"b\" twice":                        {row, "${profile | as(a, b, c, b)};${iccid}"},
		"l:20:7: outputs[0].row as: takes a value of the order":                     {row, "${imsi | as(a, b)};${iccid}"},
		"l:20:7: outputs[0].row as: \"0\" is 0 (not encrypted)":                     {row, "${transport_key | as(0, none)};${iccid}"},
		"l:20:7: outputs[0].row profile is followed by \"b\", which may stand":      {row, "${profile | as(x, abc, y, a)}b${iccid};${imsi}"},
		"l:20:7: outputs[0].row group has 3 arguments, want at most 2; a comma is":  {row, "${imsi | group(3, ,)};${iccid}"},
		"l:20:7: outputs[0].row \"group\" has an argument with a quote in it":       {row, "${imsi | group(3, \")};${iccid}"},
		"l:20:7: outputs[0].row iccid and imsi touch: nobody could tell where one ends; put a character between them, or give the first one width: iccid(18 check)":      {row, "${iccid}${imsi}"},
		"l:20:7: outputs[0].row k and opc touch: nobody could tell where one ends; put a character between them, or give the first one width: k | seal | fixed(32)":      {row, "${k | seal}${opc | seal};${iccid};${imsi}"},
		"l:20:7: outputs[0].row pin1 and iccid touch: nobody could tell where one ends; put a character between them, or give the first one width: pin1 | fixed(4)":      {row, "${pin1}${iccid};${imsi}"},
		"l:20:7: outputs[0].row puk1 and iccid touch: nobody could tell where one ends; put a character between them, or give the first one width: puk1 | fixed(8)":      {row, "${puk1}${iccid};${imsi}"},
		"l:20:7: outputs[0].row msisdn and iccid touch: nobody could tell where one ends; put a character between them, or give the first one width: msisdn | fixed(12)": {row, "${msisdn}${iccid};${imsi}"},
		"l:20:7: outputs[0].row method: takes transport_kcv":                          {row, "${imsi | method(GP)};${iccid}"},
		"l:20:7: outputs[0].row method wants one of":                                  {row, "${transport_kcv | method};${iccid}"},
		"l:20:7: outputs[0].row \"hash\" is not a function":                           {row, "${imsi | hash};${iccid}"},
		"l:20:7: outputs[0].row swap has 1 arguments, want at most 0":                 {row, "${acc | swap(2)};${iccid}"},
		"l:20:7: outputs[0].row \"left\" has 0 arguments, want more":                  {row, "${serial | left};${iccid}"},
		"l:20:7: outputs[0].row \"left\": argument 1 is not a number":                 {row, "${serial | left(x)};${iccid}"},
		"l:20:7: outputs[0].row left fills with one character":                        {row, "${serial | left(9, 00)};${iccid}"},
		"l:20:7: outputs[0].row \"left\" has no closing bracket":                      {row, "${serial | left(9};${iccid}"},
		"l:20:7: outputs[0].row \"colour\" is not a source":                           {row, "${colour};${iccid}"},
		"l:20:7: outputs[0].row \"imsi\" takes no argument":                           {row, "${imsi(15)};${iccid}"},
		"l:20:7: outputs[0].row ICCID variant":                                        {row, "${iccid(17)};${imsi}"},
		"l:20:7: outputs[0].row has no } to ${":                                       {row, "${iccid"},
		"l:20:7: outputs[0].row crc32 is no value of these rows":                      {row, "${crc32};${iccid}"},
		"l:20:7: outputs[0].row quantity is no value of these rows":                   {row, "${quantity};${iccid}"},
		"l:20:7: outputs[0].row count is no value of these rows":                      {row, "${count};${iccid}"},
		"outputs[0].row has no value":                                                 {row, "card"},
		"outputs[0].row has a line that may be left out":                              {row, "${iccid};${batch?}"},
		"outputs[0].head iccid is no value of a head":                                 {"${batch};${quantity};${tr", "${iccid};${quantity};${tr"},
		"outputs[0].head crc32 is known after the rows":                               {"${batch};${quantity};${tr", "${crc32};${quantity};${tr"},
		"outputs[0].head columns is no value of a head":                               {"${batch};${quantity};${tr", "${columns};${quantity};${tr"},
		"outputs[0].head batch would stand there in part, and could not be read back": {"${batch};${quantity};${tr", "${batch | substring(0, 2)};${quantity};${tr"},
		"outputs[0].tail imsi is no value of a tail":                                  {"${rows};", "${imsi};"},
		"outputs[0].between is not some characters of one line":                       {"    tail: |\n      ${rows}", "    between: \"a\\nb\"\n    tail: |\n      ${rows}"},
		"outputs[0].tail could be taken for a row":                                    {"${batch};${quantity};${tr", "${batch};${tr"},
		"outputs[0].file has no ${part}, but max_rows":                                {"-${part}", ""},
		"outputs[0].file is no name of a file":                                        {"file: ${batch}", "file: ../${batch}"},
		"outputs[0].max_rows is -1":                                                   {"max_rows: 10", "max_rows: -1"},
		"outputs[1].name out is there twice":                                          {"name: table", "name: out"},
		"outputs[1].table.separator is not 1 to 8 characters":                         {`separator: ";"`, `separator: ""`},
		"outputs[1].table.separator starts with \"1\", which may stand in":            {`separator: ";"`, `separator: "1"`},
		"outputs[1].table.columns columns ICCID":                                      {"[ICCID, IMSI, Ki, ", "[ICCID, Ki, "},
		"outputs[1].table.columns column Ki is there twice":                           {"IMSI, Ki, ", "IMSI, Ki, ki, "},

		// What an order must say.
		"order.head says no quantity":                         {"list\n  head: |\n    ${batch} ${profile} ${quantity} ", "first\n  head: |\n    ${batch} ${profile} "},
		"order.head says no transport_key: keys would not be": {" ${quantity} ${transport_key}", " ${quantity}"},
		"order.head says no batch":                            {"    ${batch} ${profile} ", "    ${profile} "},
		"order.row has not both iccid and imsi":               {"    ${iccid};${imsi}\n  tail", "    ${iccid};${imsi | substring(0, 5)}\n  tail"},
		"order.row says how many cards a row has":             {"    ${iccid};${imsi}\n  tail", "    ${iccid};${imsi};${count}\n  tail"},
		"order.row does not say how many cards":               {"identities: list", "identities: ranges"},
		"order.row says the quantity, which stands in a row":  {"    ${iccid};${imsi}\n  tail", "    ${iccid};${imsi};${quantity}\n  tail"},
		"order.row has a part of the last iccid":              {"list\n  head: |\n    ${batch} ${profile} ${quantity} ${transport_key}\n  row: |\n    ${iccid};", "ranges\n  head: |\n    ${batch} ${profile} ${quantity} ${transport_key}\n  row: |\n    ${iccid};${iccid | last | substring(2, 9)};"},
		"order.row pin1 is no value of these rows":            {"    ${iccid};${imsi}\n  tail", "    ${pin1};${iccid};${imsi}\n  tail"},
		"order.style is \"loose\"":                            {"style: exact", "style: loose"},
		"order.identities is \"all\"":                         {"identities: list", "identities: all"},
		"order.decoration is what rows or the tail start":     {"  identities: list", "  decoration: \"E\"\n  identities: list"},
		"order.decoration may stand in front of a row":        {"  identities: list", "  decoration: \"8\"\n  identities: list"},
		"order.tail counts lines, of which decoration":        {"  identities: list\n  head: |\n    ${batch} ${profile} ${quantity} ${transport_key}\n  row: |\n    ${iccid};${imsi}\n  tail: |\n    END", "  decoration: \"*\"\n  identities: list\n  head: |\n    ${batch} ${profile} ${quantity} ${transport_key}\n  row: |\n    ${iccid};${imsi}\n  tail: |\n    END ${lines}"},
		"text is \"utf-16\", want one of":                     {"columns: [", "text: utf-16\ncolumns: ["},
		"last_line is \"none\", want ended or open":           {"columns: [", "last_line: none\ncolumns: ["},
		"order.set \"colour\" is no value to set":             {"  identities: list", "  set: {colour: red}\n  identities: list"},
		"order.set transport_key is 0 (not encrypted)":        {"  identities: list", "  set: {transport_key: \"0\"}\n  identities: list"},
		"order.head has a line \"${batch} ${profile}":         {"style: exact", "style: keys"},
		"layout has ' ' as character 4":                       {"layout: whole", "layout: who le"},
		"about is not one line":                               {"about: an order and a response", "about: \"\""},
		"newline is \"cr\", want lf or crlf":                  {"columns: [", "newline: cr\ncolumns: ["},
		"unknown field \"colour\"":                            {"columns: [", "colour: red\ncolumns: ["},
		"outputs[1].echo needs an order of style keys":        {"  - name: table", "  - echo: true\n    name: table"},
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if text == whole {
			t.Errorf("%s: the test changes nothing", want)
			continue
		}
		_, err := Parse("l", []byte(text))
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		found := false
		for _, f := range faults {
			found = found || strings.HasPrefix(f.Text, want) || strings.HasPrefix(f.Error(), want)
		}
		if !found {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// What functions make of values, by hand.
func TestFunctions(t *testing.T) {
	iccid := must(sim.ParseICCID("8991999000000000013"))
	id := sim.Identity{ICCID: iccid, IMSI: must(sim.ParseIMSI("404991234567890")), MSISDN: must(sim.ParseMSISDN("919876543210"))}
	for expression, want := range map[string]string{
		"iccid":                               "8991999000000000013",
		"iccid(18)":                           "899199900000000001",
		"iccid(18) | luhn":                    "8991999000000000013",
		"iccid(18 check padded)":              "8991999000000000013F",
		"iccid(18 check padded swapped)":      "981999090000000010F3",
		"iccid(18 check padded) | swap":       "981999090000000010F3",
		"iccid | group(5, -)":                 "89919-99000-00000-0013",
		"iccid | substring(2, 5)":             "91999",
		"imsi":                                "404991234567890",
		"imsi | ef":                           "084940992143658709",
		"imsi | without(40499)":               "1234567890",
		"imsi | right(18)":                    "404991234567890   ",
		"imsi | left(18, x)":                  "xxx404991234567890",
		"msisdn | without(91) | group(5)":     "98765 43210",
		"acc":                                 "0001",
		"acc | swap | lower":                  "0010",
		"serial":                              "42",
		"serial | left(6, 0)":                 "000042",
		"pin1":                                "1234",
		"pin1 | ascii_ff":                     "31323334FFFFFFFF",
		"pin1 | ascii_ff | lower":             "31323334ffffffff",
		"puk1 | ascii_ff | base64":            "MTIzNDU2Nzg=",
		"k | seal":                            "000102030405060708090A0B0C0D0E0F",
		"k | seal(ota) | lower":               "000102030405060708090a0b0c0d0e0f",
		"k | seal | base64":                   "AAECAwQFBgcICQoLDA0ODw==",
		"k | kcv(GP)":                         "A1B2C3",
		"k | kcv(CMAC) | lower":               "a1b2c3d4e5",
		"customer | json":                     `A \"b\" \\ c`,
		"date | date(DD.MM.YY)":               "31.12.26",
		"date | date(YYYY/MM/DD hh:mm)":       "2026/12/31 23:59",
		"written | date(YYYY-MM-DDThh:mm:ss)": "2027-01-02T03:04:05",
		"transport_kcv | method(GP)":          "C35280",
		"batch | right(6)":                    "B1    ",
		"x_note":                              "anything, at all",
	} {
		l, err := Parse("f", []byte("layout: f\nabout: f\noutputs:\n  - name: out\n    row: |\n      <${iccid};${imsi};${msisdn};${"+expression+"}\n"))
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		h := &Header{layout: l, newline: "\n", more: map[Field]string{Customer: `A "b" \ c`, OrderDate: "202612312359", Batch: "B1", "x_note": "anything, at all"}}
		col := l.outputs[0].rows.columns[3]
		cells := make([][]byte, 4)
		switch {
		case col.kind == kcvCell:
			cells[3] = []byte{0xA1, 0xB2, 0xC3, 0xD4, 0xE5}[:col.KCVBytes()]
		case col.kind == sealedCell:
			cells[3] = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		case col.kind == codeCell:
			cells[3] = []byte("12345678")
			if col.slot == "PIN1" {
				cells[3] = []byte("1234\xff\xff\xff\xff")
			}
		}
		var out bytes.Buffer
		w, err := NewResponse(&out, Delivery{Header: h, Quantity: 1, KCV: mustKCV("C35280 GP"), Values: map[Field]string{Written: "20270102030405"}})
		if err == nil {
			err = errors.Join(w.Row(42, id, cells), w.Close())
		}
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		row := "<8991999000000000013;404991234567890;919876543210;"
		if got := out.String(); got != row+want+"\n" {
			t.Errorf("%s: got %q, want %q", expression, strings.TrimPrefix(got, row), want)
		}
		if back, err := again(l.outputs[0], 0, out.Bytes()); err != nil && !errors.Is(err, errAgain) || err == nil && !bytes.Equal(back, out.Bytes()) {
			t.Errorf("%s: %v, read as %q", expression, err, back)
		}
	}
}

// The how-to's layout is good, reads its order, and writes its response.
func TestHowTo(t *testing.T) {
	doc, err := os.ReadFile("../docs/howto/write-a-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, layout, _ := strings.Cut(string(doc), "```yaml\n")
	layout, rest, _ := strings.Cut(layout, "```")
	_, outputs, _ := strings.Cut(rest, "```yaml\n")
	outputs, _, _ = strings.Cut(outputs, "```")
	l, err := Parse("north.yaml", []byte(layout+outputs))
	if err != nil {
		t.Fatal(err)
	}
	_, order, _ := strings.Cut(string(doc), "```\n")
	order, rest, _ = strings.Cut(order, "```")
	s := &Sample{Layout: l}
	if err := s.Take("B0042.rec", strings.NewReader(strings.ReplaceAll(order, "\n", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	f, err := s.Response(l.Outputs()[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(f.Text), "\r\n")
	_, shown, _ := strings.Cut(rest, "```\n")
	shown, _, _ = strings.Cut(shown, "```")
	for i, want := range strings.Split(strings.TrimSpace(shown), "\n") {
		got := lines[i]
		if i == 2 {
			got = lines[len(lines)-2]
		}
		if start, _, _ := strings.Cut(want, "..."); !strings.HasPrefix(got, start) {
			t.Errorf("got %s, the how-to says %s", got, want)
		}
	}
}

// What only a head of keys can have wrong.
func TestKeysRefused(t *testing.T) {
	const good = "layout: k\nabout: k\norder:\n  style: keys\n  identities: list\n  head: |\n    A: ${batch}\n    B: ${profile}\n    C: ${transport_key}\n    D: ${quantity}\n    In: ${input}\n  row: |\n    N: ${iccid}\n    M: ${imsi}\n"
	if _, err := Parse("k", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string][2]string{
		`order.head has a line "A: ${batch}" that fills with blanks`:  {"${batch}", "${batch | right(20)}"},
		`order.row has a line "M: ${imsi}" that fills with blanks`:    {"${imsi}", "${imsi | right(20)}"},
		`order.head has a line "A ${batch}", want KEY: ${value}`:      {"A: ", "A "},
		`order.head has b twice`:                                      {"    B: ${profile}", "    B: ${profile}\n    b: ${version}"},
		`order.head has E twice`:                                      {"    In:", "    E: ${batch}\n    In:"},
		`order.head has lines after ${input}, which ends it`:          {"    In: ${input}\n", "    In: ${input}\n    E: ${po}\n"},
		`order.head ends nowhere: want a line KEY: ${input}, or rows`: {"    In: ${input}\n  row: |\n    N: ${iccid}\n    M: ${imsi}\n", "  row: |\n    ${iccid};${imsi}\n"},
		`order.row has a line that may be left out`:                   {"M: ${imsi}", "M: ${imsi?}"},
		`order.head input is no value of a head`:                      {"style: keys", "style: exact"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		_, err := Parse("k", []byte(text))
		if err == nil || !strings.Contains(err.Error(), ": "+want) || text == good {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// A head of keys without a line that ends it ends at the first row.
	l, err := Parse("k", []byte(strings.Replace(good, "    In: ${input}\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := &Sample{Layout: l}
	if err := s.Take("o", strings.NewReader("b : p\n\nD:2\nC: 7\na: B1\nn: 8991999000000000013\nM:404990000000001\nn: 8991999000000000021\nM:404990000000002\n\n")); err != nil || s.Cards != 2 {
		t.Errorf("%d cards: %v", s.Cards, err)
	}
}

// Between a key of a head and its value are blanks alone: what else stands there
// would be read as the value's.
func TestKeyWithText(t *testing.T) {
	doc := strings.Replace(string(must(Document("dialect2"))), "Transport_key_KCV: ", "Transport_key_KCV: y ", 1)
	if _, err := Parse("f", []byte(doc)); err == nil || !strings.Contains(err.Error(), "want KEY: ${value}") {
		t.Error(err)
	}
}

// A response that echoes its order says under which key its columns are.
func TestEchoWithoutKCV(t *testing.T) {
	doc := string(must(Document("dialect2")))
	at := strings.Index(doc, "    Transport_key_KCV")
	end := at + strings.Index(doc[at:], "\n") + 1
	_, err := Parse("f", []byte(doc[:at]+doc[end:]))
	if err == nil || !strings.Contains(err.Error(), "outputs[0].echo needs a line with ${transport_kcv>}") {
		t.Error(err)
	}
}
