package order

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"ankan/aka"
	"ankan/document"
	"ankan/format"
	"ankan/hsm"
	"ankan/sim"
	"ankan/waiver"
)

// A Contract is what an operator and a manufacturer agreed. ParseContract
// makes it from a file; the zero Contract allows no order.
type Contract struct {
	Number           string
	Operator         string // the operator's name as a partner
	Customer         string // its name for people, and in its order files
	Manufacturer     string // the manufacturer's name as a partner
	Maker            Manufacturer
	Licence          Licence
	Products         []Product
	Profiles         []AgreedProfile
	Order            *format.Layout   // of order files
	Responses        []ResponseFile   // files that answer an order, at least one
	OrderICCID       sim.ICCIDVariant // how order files write ICCIDs
	ResponseICCID    sim.ICCIDVariant // how response files write them
	TransportKeys    []TransportKeyRef
	Issuer           string // digits that every ICCID starts with (E.118: 89, country, issuer)
	Network          sim.PLMN
	Ranges           []Owned
	MaxQuantity      int           // cards of one order
	Spares           SparePolicy   // key sets without an identity in each batch
	Remake           bool          // a card that cannot be made is made anew with fresh keys; else its identity is retired
	DestructionLimit time.Duration // from the operator's acknowledgement (SOP 6.3.3)
	Alarms           []string      // who is told when something is wrong
}

// A Manufacturer is the maker of the cards (SOP 3.c).
type Manufacturer struct {
	Partner         string `yaml:"partner"` // Contract.Manufacturer
	Name            string `yaml:"name"`
	Registration    string `yaml:"registration"`
	Development     string `yaml:"development"`     // where its personalisation is developed
	Personalisation string `yaml:"personalisation"` // where cards are personalised
}

// A Licence is the operator's authorisation (SOP 3.b).
type Licence struct {
	Kind       string // CMTS, UASL or UL
	Number     string
	Areas      []string  // service areas
	ValidUntil time.Time // the first moment when it is not valid any more
}

// A Product is a kind of card.
type Product struct {
	Name       string `yaml:"name"`
	FormFactor string `yaml:"form_factor"`
	Chip       string `yaml:"chip"`
	OS         string `yaml:"os"` // release of the operating system
	// Algorithms are what the operating system computes: MILENAGE, TUAK, XOR. None:
	// not said.
	Algorithms []string `yaml:"algorithms"`
}

// An AgreedProfile is an electrical profile that the operator may order.
type AgreedProfile struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"` // "" if the dialect's files do not say it
	Digest  string `yaml:"digest"`  // hex SHA-256 of the profile's canonical form; "" if not agreed
	Product string `yaml:"product"` // name of the product that carries it
	// Algorithm is the profile's authentication algorithm with its parameters, as
	// aka.ParseParameters reads them; "" is MILENAGE.
	Algorithm string `yaml:"algorithm"`
}

// Authentication is what Algorithm says. ParseContract refused what says nothing.
func (p AgreedProfile) Authentication() aka.Parameters {
	a, err := aka.ParseParameters(cmp.Or(p.Algorithm, string(aka.MILENAGE)))
	if err != nil {
		return aka.Parameters{} // opens nothing
	}
	return a
}

// A TransportKeyRef is a transport key that operator and manufacturer agreed.
type TransportKeyRef struct {
	Index int     // as order files name it
	KCV   hsm.KCV // check value with its method; zero if people compare it when the key is shared
	// Algorithm is the key's; "" is AES of either length.
	Algorithm hsm.Algorithm
	// Waiver is what both agreed of an algorithm that needs one. People sign it at
	// each site by the act key.waive.
	Waiver waiver.Waiver
}

// Fits refuses a key of another algorithm than was agreed.
func (k TransportKeyRef) Fits(a hsm.Algorithm) error {
	if k.Algorithm == a || k.Algorithm == "" && !a.NeedsWaiver() {
		return nil
	}
	return fmt.Errorf("transport key %d is %s, the contract says %s; agree on one of them, or take another index", k.Index, a, cmp.Or(string(k.Algorithm), "AES"))
}

// Owned is a range of ICCIDs and one of IMSIs that belong to the operator,
// first and last included. ICCIDs are bodies, without check digit.
type Owned struct {
	ICCID, IMSI Numbers
	Digits      int // of the visible ICCIDs: 19 or 20
}

// Numbers is a range of numbers, first and last included.
type Numbers struct{ First, Last uint64 }

func (n Numbers) has(v uint64) bool { return n.First <= v && v <= n.Last && n.Last != 0 }

// A SparePolicy says how many spare key sets a batch carries.
type SparePolicy struct {
	Percent int `yaml:"percent"`
	Min     int `yaml:"min"`
}

// For is the number of spare key sets for an order of so many cards.
func (p SparePolicy) For(quantity int) int {
	return max(p.Min, (quantity*p.Percent+99)/100)
}

// A ResponseFile is one kind of file that answers an order.
type ResponseFile struct {
	Output  *format.Output
	Columns []Column
	MaxRows int // of one file; 0: no limit
}

// Reading is how to read order files under the contract.
func (c *Contract) Reading() Reading { return Reading{Layout: c.Order, Variant: c.OrderICCID} }

// ResponseReading is how to read a response file under the contract.
func (c *Contract) ResponseReading(f ResponseFile) Reading {
	return Reading{Layout: f.Output.Layout(), Output: f.Output, Variant: c.ResponseICCID}
}

// parts is how many files an output of n rows is.
func (f ResponseFile) parts(n int) int {
	if f.MaxRows == 0 {
		return 1
	}
	return (n + f.MaxRows - 1) / f.MaxRows
}

// ResponseOf says which file of the response is file n of m, from 1, of an order of
// so many cards: its kind, and which part of how many. Kinds follow each other as
// the contract has them.
func (c *Contract) ResponseOf(n, m, quantity int) (f ResponseFile, part, parts int, err error) {
	total := func(good int) (sum int) {
		for _, f := range c.Responses {
			sum += f.parts(good)
		}
		return sum
	}
	// More good cards are never fewer files of any kind, so that the sum tells how
	// many there are of each.
	good := 1 + sort.Search(max(quantity-1, 0), func(i int) bool { return total(i+1) >= m })
	if total(good) != m || n < 1 || n > m {
		return f, 0, 0, fmt.Errorf("file %d of %d is none of a response to %d cards; the contract makes up to %d files", n, m, quantity, total(quantity))
	}
	for _, f := range c.Responses {
		if parts = f.parts(good); n <= parts {
			return f, n, parts, nil
		}
		n -= parts
	}
	return f, 0, 0, fmt.Errorf("the contract has no responses")
}

// ResponseColumns are the columns of all response files.
func (c *Contract) ResponseColumns() []Column {
	var all []Column
	for _, f := range c.Responses {
		all = append(all, f.Columns...)
	}
	return all
}

// Receivers are whose transport keys an order's response files are encrypted
// under; "" is the order's only one.
func (c *Contract) Receivers() []string {
	return format.Receivers(c.ResponseColumns())
}

// Profile finds the agreed profile that an order file names.
func (c *Contract) Profile(in *Header) (AgreedProfile, error) {
	name, version := in.Value(ProfileName), in.Value(ProfileVersion)
	var agreed []string
	for _, p := range c.Profiles {
		if p.Name == name && p.Version == version {
			return p, nil
		}
		agreed = append(agreed, strings.TrimSpace(p.Name+" "+p.Version))
	}
	hint := ""
	if !in.Layout().Says(ProfileVersion) {
		hint = fmt.Sprintf("; orders of layout %s say no version: let the layout set it (set: {version: ...}), or leave it out of the contract", in.Layout().Name())
	}
	return AgreedProfile{}, fmt.Errorf("profile %s is not agreed, want one of: %s%s", strings.TrimSpace(name+" "+version), strings.Join(agreed, ", "), hint)
}

// Product finds a product by its name.
func (c *Contract) Product(name string) (Product, error) {
	for _, p := range c.Products {
		if p.Name == name {
			return p, nil
		}
	}
	return Product{}, fmt.Errorf("product %q is not in the contract", name)
}

// Transport finds the transport key that an order file names for a receiver; "" is
// the only one.
func (c *Contract) Transport(in *Header, receiver string) (TransportKeyRef, error) {
	var agreed []string
	index := in.TransportKeyOf(receiver)
	for _, k := range c.TransportKeys {
		if k.Index == index && k.Index != 0 {
			return k, nil
		}
		agreed = append(agreed, strconv.Itoa(k.Index))
	}
	of := ""
	if receiver != "" {
		of = " of " + receiver
	}
	return TransportKeyRef{}, fmt.Errorf("transport key %d%s is not agreed, want one of: %s", index, of, strings.Join(agreed, ", "))
}

// contractFile is the file of a contract.
type contractFile struct {
	Contract     string       `yaml:"contract"`
	Operator     string       `yaml:"operator"`
	Customer     string       `yaml:"customer"`
	Manufacturer Manufacturer `yaml:"manufacturer"`
	Licence      struct {
		Kind       string   `yaml:"kind"`
		Number     string   `yaml:"number"`
		Areas      []string `yaml:"service_areas"`
		ValidUntil string   `yaml:"valid_until"`
	} `yaml:"licence"`
	Products []Product       `yaml:"products"`
	Profiles []AgreedProfile `yaml:"profiles"`
	Files    struct {
		Dialect       string   `yaml:"dialect"`
		Order         string   `yaml:"order"`
		Responses     []string `yaml:"responses"`
		OrderICCID    string   `yaml:"order_iccid"`
		ResponseICCID string   `yaml:"response_iccid"`
		Columns       string   `yaml:"columns"`
		MaxRows       int      `yaml:"max_rows"`
	} `yaml:"files"`
	TransportKeys []struct {
		Index int    `yaml:"index"`
		KCV   string `yaml:"kcv"`

		Algorithm string `yaml:"algorithm"`
		Waiver    *struct {
			Until  string `yaml:"until"`
			Reason string `yaml:"reason"`
		} `yaml:"waiver"`
	} `yaml:"transport_keys"`
	Issuer  string `yaml:"iccid_issuer"`
	Network struct {
		MCC string `yaml:"mcc"`
		MNC string `yaml:"mnc"`
	} `yaml:"network"`
	Ranges []struct {
		ICCID string `yaml:"iccid"`
		IMSI  string `yaml:"imsi"`
	} `yaml:"ranges"`
	MaxQuantity      int         `yaml:"max_quantity"`
	Spares           SparePolicy `yaml:"spares"`
	Reject           string      `yaml:"reject"`
	DestructionLimit string      `yaml:"destruction_limit"`
	Alarms           []string    `yaml:"alarms"`
}

// ParseContract reads a contract file. It is strict: unknown, repeated and
// missing keys and wrong values are Faults with their place. formats are the
// layouts that the contract may name beside those of the program.
func ParseContract(name string, doc []byte, formats ...*format.Layout) (*Contract, error) {
	f := new(contractFile)
	tree, err := document.Read(name, doc, f)
	if err != nil {
		fault := Fault{File: name, Line: 1, Column: 1, Text: err.Error()}
		var at *document.Error
		if errors.As(err, &at) {
			fault = Fault(*at)
		}
		return nil, Faults{&fault}
	}
	r := &contractReader{name: name, tree: tree, f: f, c: new(Contract), formats: formats}
	r.parties()
	r.cards()
	r.files()
	r.numbers()
	r.limits()
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return r.c, nil
}

// A contractReader turns the file into a Contract.
type contractReader struct {
	name   string
	tree   *document.Tree
	f      *contractFile
	c      *Contract
	faults Faults

	formats format.Set
}

// fault notes what is wrong with the value at path ("$.ranges[1].imsi"), or
// with the nearest thing around it that is there.
func (r *contractReader) fault(path, format string, args ...any) {
	line, column := r.tree.Place(path)
	r.faults = append(r.faults, &Fault{File: r.name, Line: line, Column: column, Text: strings.TrimPrefix(path, "$.") + " " + fmt.Sprintf(format, args...)})
}

// text takes a value that must be there: one line for people.
func (r *contractReader) text(path, value string) string {
	switch {
	case value == "":
		r.fault(path, "is missing")
	case len(value) > 120:
		r.fault(path, "has %d bytes, want at most 120", len(value))
	case format.BadByte(value) >= 0 || strings.Contains(value, "\t"):
		r.fault(path, "is not one line of plain text")
	}
	return value
}

// token takes a name without blanks.
func (r *contractReader) token(path, value string) string {
	if value == "" {
		r.fault(path, "is missing")
	} else if wrong := format.WrongToken(value, 64); wrong != "" {
		r.fault(path, "%s", wrong)
	}
	return value
}

// digits takes a number of low to high digits.
func (r *contractReader) digits(path, value string, low, high int) string {
	if err := format.CheckDigits([]byte(value), low, high); err != nil {
		r.fault(path, "%v", err)
	}
	return value
}

func (r *contractReader) parties() {
	f, c := r.f, r.c
	c.Number = r.token("$.contract", f.Contract)
	c.Operator = r.token("$.operator", f.Operator)
	c.Customer = r.text("$.customer", f.Customer)
	c.Manufacturer = r.token("$.manufacturer.partner", f.Manufacturer.Partner)
	c.Maker = f.Manufacturer
	r.text("$.manufacturer.name", f.Manufacturer.Name)
	r.text("$.manufacturer.registration", f.Manufacturer.Registration)
	r.text("$.manufacturer.development", f.Manufacturer.Development)
	r.text("$.manufacturer.personalisation", f.Manufacturer.Personalisation)

	kinds := []string{"CMTS", "UASL", "UL"}
	if !slices.Contains(kinds, f.Licence.Kind) {
		r.fault("$.licence.kind", "is %q, want one of %s", f.Licence.Kind, strings.Join(kinds, ", "))
	}
	if len(f.Licence.Areas) == 0 {
		r.fault("$.licence.service_areas", "is empty")
	}
	for i, area := range f.Licence.Areas {
		r.text(fmt.Sprintf("$.licence.service_areas[%d]", i), area)
	}
	c.Licence = Licence{f.Licence.Kind, r.text("$.licence.number", f.Licence.Number), f.Licence.Areas, r.after("$.licence.valid_until", f.Licence.ValidUntil)}
}

// after takes a day, in IST, and gives the moment when it is over.
func (r *contractReader) after(path, value string) time.Time {
	day, err := time.ParseInLocation(time.DateOnly, value, ist())
	if err != nil {
		r.fault(path, "is %q, want a date such as 2036-03-31", value)
	}
	return day.AddDate(0, 0, 1)
}

// ist is Indian Standard Time, which knows no summer time.
func ist() *time.Location { return time.FixedZone("IST", 5*3600+1800) }

func (r *contractReader) cards() {
	f, c := r.f, r.c
	c.Products, c.Profiles = f.Products, f.Profiles
	if len(f.Products) == 0 {
		r.fault("$.products", "is empty")
	}
	names, computes := map[string]bool{}, map[string][]string{}
	for i, p := range f.Products {
		at := fmt.Sprintf("$.products[%d]", i)
		if names[p.Name] {
			r.fault(at+".name", "%s is there twice", p.Name)
		}
		names[r.token(at+".name", p.Name)] = true
		r.text(at+".chip", p.Chip)
		r.text(at+".os", p.OS)
		computes[p.Name] = p.Algorithms
		for k, a := range p.Algorithms {
			if !slices.Contains([]aka.Algorithm{aka.MILENAGE, aka.TUAK, aka.XOR}, aka.Algorithm(a)) {
				r.fault(fmt.Sprintf("%s.algorithms[%d]", at, k), "is %.40q, want MILENAGE, TUAK or XOR", a)
			}
		}
		for factor := range strings.SplitSeq(p.FormFactor, "/") {
			if !slices.Contains([]string{"2FF", "3FF", "4FF", "MFF2"}, factor) {
				r.fault(at+".form_factor", "is %q, want 2FF, 3FF, 4FF or MFF2, joined by '/'", p.FormFactor)
				break
			}
		}
	}
	if len(f.Profiles) == 0 {
		r.fault("$.profiles", "is empty")
	}
	for i, p := range f.Profiles {
		at := fmt.Sprintf("$.profiles[%d]", i)
		r.token(at+".name", p.Name)
		if p.Version != "" {
			r.token(at+".version", p.Version)
		}
		if sum, err := hex.DecodeString(p.Digest); p.Digest != "" && (err != nil || len(sum) != 32 || strings.ToLower(p.Digest) != p.Digest) {
			r.fault(at+".digest", "is not a SHA-256, want 64 lower case hexadecimal digits")
		}
		a, err := aka.ParseParameters(cmp.Or(p.Algorithm, string(aka.MILENAGE)))
		if err != nil {
			r.fault(at+".algorithm", "%v", err)
		} else if has := computes[p.Product]; len(has) > 0 && !slices.Contains(has, string(a.Algorithm)) {
			r.fault(at+".algorithm", "is %s, the operating system of product %s has %s: name another product, or another operating system", a.Algorithm, p.Product, strings.Join(has, ", "))
		}
		if !names[p.Product] {
			r.fault(at+".product", "%q is not among the products", p.Product)
		}
	}
}

func (r *contractReader) files() {
	f, c := r.f.Files, r.c
	var err error
	r.layouts()
	if c.OrderICCID, err = sim.ParseICCIDVariant(f.OrderICCID); err != nil {
		r.fault("$.files.order_iccid", "%v", err)
	}
	if c.ResponseICCID, err = sim.ParseICCIDVariant(f.ResponseICCID); err != nil {
		r.fault("$.files.response_iccid", "%v", err)
	}
	if both := c.OrderICCID | c.ResponseICCID; both&sim.Digits18 != 0 && both&sim.Digits19 != 0 {
		r.fault("$.files.response_iccid", "has a body of another length than order_iccid")
	}
	r.columns()
	r.limitRows()
}

// limitRows takes the contract's limit where a layout has none, or a larger one.
func (r *contractReader) limitRows() {
	f, c := r.f.Files, r.c
	if f.MaxRows < 0 || f.MaxRows > MaxQuantity {
		r.fault("$.files.max_rows", "is %d, want 1 to %d, or nothing for no limit", f.MaxRows, MaxQuantity)
	}
	for i := range c.Responses {
		if most := &c.Responses[i].MaxRows; f.MaxRows > 0 && (*most == 0 || f.MaxRows < *most) {
			*most = f.MaxRows
		}
	}
}

// layouts takes the layouts of files: dialect names one for orders and responses.
func (r *contractReader) layouts() {
	f, c := r.f.Files, r.c
	order, path, responses := f.Order, "$.files.order", f.Responses
	if f.Dialect != "" {
		if order != "" {
			r.fault("$.files.dialect", "and order are both there, want one")
		}
		order, path = f.Dialect, "$.files.dialect"
	}
	l, err := r.formats.Find(order)
	switch {
	case err != nil:
		r.fault(path, "%v", err)
	case !l.Orders():
		r.fault(path, "layout %s has no order files", order)
	default:
		c.Order = l
	}
	if len(responses) == 0 {
		responses = []string{order}
		if err != nil {
			return // said already
		}
	}
	for i, name := range responses {
		if len(f.Responses) > 0 {
			path = fmt.Sprintf("$.files.responses[%d]", i)
		}
		r.response(path, name)
	}
}

// response takes LAYOUT, all of its outputs, or LAYOUT/OUTPUT.
func (r *contractReader) response(path, name string) {
	layout, output, one := strings.Cut(name, "/")
	l, err := r.formats.Find(layout)
	var outputs []*format.Output
	if err == nil && one {
		var o *format.Output
		o, err = l.Output(output)
		outputs = []*format.Output{o}
	} else if err == nil {
		if outputs = l.Outputs(); len(outputs) == 0 {
			err = fmt.Errorf("layout %s has no responses", layout)
		}
	}
	if err != nil {
		r.fault(path, "%v", err)
		return
	}
	for _, o := range outputs {
		for _, other := range r.c.Responses {
			if other.Output == o {
				r.fault(path, "%s/%s is there twice", layout, o.Name())
			}
		}
		if o.Echoes() && l != r.c.Order && r.c.Order != nil {
			r.fault(path, "%s begins with the order's own lines, so the orders must be of %s too", name, l.Name())
		}
		r.c.Responses = append(r.c.Responses, ResponseFile{Output: o, Columns: o.Columns(), MaxRows: o.MaxRows()})
	}
}

// columns takes the columns of the files that let them be chosen.
func (r *contractReader) columns() {
	chosen := false
	for i := range r.c.Responses {
		file := &r.c.Responses[i]
		if !file.Output.Chosen() || r.f.Files.Columns == "" {
			continue
		}
		chosen = true
		var err error
		if file.Columns, err = file.Output.Layout().ParseColumns(r.f.Files.Columns); err != nil {
			r.fault("$.files.columns", "%v", err)
			return
		}
	}
	if r.f.Files.Columns != "" && !chosen && len(r.c.Responses) > 0 {
		r.fault("$.files.columns", "is there, but no response lets its columns be chosen")
	}
	for _, file := range r.c.Responses {
		for _, col := range file.Columns {
			if col.Slot() == "" && !col.Derived() {
				r.fault("$.files.columns", "%s is a word that nobody gives; a layout can write it as it is", col)
			}
		}
	}
}

func (r *contractReader) numbers() {
	f, c := r.f, r.c
	if len(f.TransportKeys) == 0 {
		r.fault("$.transport_keys", "is empty: keys would not be encrypted")
	}
	seen := map[int]bool{}
	for i, k := range f.TransportKeys {
		at := fmt.Sprintf("$.transport_keys[%d]", i)
		if wrong := TransportKey.Wrong(strconv.Itoa(k.Index)); wrong != "" {
			r.fault(at+".index", "%s", wrong)
		}
		if seen[k.Index] {
			r.fault(at+".index", "%d is there twice", k.Index)
		}
		seen[k.Index] = true
		ref := TransportKeyRef{Index: k.Index, Algorithm: hsm.Algorithm(k.Algorithm)}
		if err := hsm.Transport.Fits(ref.Algorithm); err != nil && k.Algorithm != "" {
			r.fault(at+".algorithm", "is %.40q, want %s, %s, or under a waiver %s or %s; single DES and keys in clear are refused", k.Algorithm, hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3)
		}
		switch needs := ref.Algorithm.NeedsWaiver(); {
		case needs && k.Waiver == nil:
			r.fault(at+".algorithm", "is %s, which is refused without a waiver; want waiver: {until: 2027-03-31, reason: ...} beside it", k.Algorithm)
		case needs:
			ref.Waiver = waiver.Waiver{For: k.Algorithm, Reason: r.text(at+".waiver.reason", k.Waiver.Reason), Until: r.after(at+".waiver.until", k.Waiver.Until)}
		case k.Waiver != nil:
			r.fault(at+".waiver", "is there, but the key is of AES, which needs none")
		}
		if k.KCV != "" {
			var err error
			if ref.KCV, err = hsm.ParseKCV(k.KCV); err != nil {
				r.fault(at+".kcv", "%v", err)
			} else if ref.Algorithm.NeedsWaiver() && ref.KCV.Method() != ref.Algorithm.CheckMethod() {
				r.fault(at+".kcv", "is of the method %s, a key of %s has one of %s", ref.KCV.Method(), ref.Algorithm, ref.Algorithm.CheckMethod())
			}
		}
		c.TransportKeys = append(c.TransportKeys, ref)
	}
	c.Issuer = r.digits("$.iccid_issuer", f.Issuer, 4, 8)
	if !strings.HasPrefix(c.Issuer, "89") {
		r.fault("$.iccid_issuer", "does not start with 89 (E.118)")
	}
	r.digits("$.network.mcc", f.Network.MCC, 3, 3)
	r.digits("$.network.mnc", f.Network.MNC, 2, 3)
	var err error
	if c.Network, err = sim.ParsePLMN(f.Network.MCC + f.Network.MNC); err != nil {
		r.fault("$.network", "%v", err)
	}
	if len(f.Ranges) == 0 {
		r.fault("$.ranges", "is empty: the operator owns no identity")
	}
	for i, n := range f.Ranges {
		at := fmt.Sprintf("$.ranges[%d]", i)
		digits := 18
		if c.OrderICCID&sim.Digits19 != 0 {
			digits = 19
		}
		c.Ranges = append(c.Ranges, Owned{
			ICCID:  r.span(at+".iccid", n.ICCID, digits, c.Issuer),
			IMSI:   r.span(at+".imsi", n.IMSI, 15, c.Network.String()),
			Digits: digits + 1,
		})
	}
}

// span takes "first-last", both of so many digits that start with prefix.
func (r *contractReader) span(path, value string, digits int, prefix string) Numbers {
	first, last, _ := strings.Cut(value, "-")
	if format.CheckDigits([]byte(first), digits, digits) != nil || format.CheckDigits([]byte(last), digits, digits) != nil {
		r.fault(path, "is not first-last, two numbers of %d digits (ICCIDs without check digit)", digits)
		return Numbers{}
	}
	if !strings.HasPrefix(first, prefix) || !strings.HasPrefix(last, prefix) {
		r.fault(path, "does not start with %s", prefix)
	}
	low, _ := strconv.ParseUint(first, 10, 64) // digits, and at most 19 of them
	high, _ := strconv.ParseUint(last, 10, 64)
	if low > high {
		r.fault(path, "ends before it starts")
	}
	return Numbers{low, high}
}

func (r *contractReader) limits() {
	f, c := r.f, r.c
	if c.MaxQuantity = f.MaxQuantity; c.MaxQuantity < 1 || c.MaxQuantity > MaxQuantity {
		r.fault("$.max_quantity", "is %d, want 1 to %d", c.MaxQuantity, MaxQuantity)
	}
	if c.Spares = f.Spares; c.Spares.Percent < 0 || c.Spares.Percent > 100 || c.Spares.Min < 0 || c.Spares.Min > 10_000 {
		r.fault("$.spares", "is %d percent, at least %d, want 0 to 100 percent, at least 0 to 10000", c.Spares.Percent, c.Spares.Min)
	}
	if c.Remake = f.Reject == "remake"; !c.Remake && f.Reject != "retire" {
		r.fault("$.reject", "is %q, want remake or retire", f.Reject)
	}
	if c.Remake && c.Spares.For(1) == 0 {
		r.fault("$.spares", "are none, but reject is remake, which needs spare key sets")
	}
	c.DestructionLimit = r.limit("$.destruction_limit", f.DestructionLimit)
	if len(f.Alarms) == 0 {
		r.fault("$.alarms", "is empty: nobody would be told")
	}
	c.Alarms = f.Alarms
	for i, who := range f.Alarms {
		r.text(fmt.Sprintf("$.alarms[%d]", i), who)
	}
}

// limit takes a time from 1h to 365d.
func (r *contractReader) limit(path, value string) time.Duration {
	unit := time.Hour
	number, ok := strings.CutSuffix(value, "h")
	if !ok {
		unit = 24 * time.Hour
		number, ok = strings.CutSuffix(value, "d")
	}
	n, err := strconv.Atoi(number)
	if d := time.Duration(n) * unit; ok && err == nil && n > 0 && n <= 365*24 && d <= 365*24*time.Hour {
		return d
	}
	r.fault(path, "is %q, want hours or days such as 72h or 30d, at most 365d", value)
	return 0
}
