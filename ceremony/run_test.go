package ceremony_test

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/store/storetest"
	"ankan/waiver"
)

const (
	transport256 = `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: op`
	subscriber   = `name: subscriber/1, purpose: subscriber, algorithm: AES-256`
)

// backup2of3 asks for shares of a new key.
const backup2of3 = `backup: {threshold: 2, holders: ["1005", "1006", "1007"]}`

// exportTo are three custodians who take components away.
const exportTo = `parts: [{custodian: "1005", form: KTF-1, bag: B-1}, {custodian: "1006", form: KTF-2, bag: B-2}, {custodian: "1007", form: KTF-3, bag: B-3}]`

func TestGenerate(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	c := r.run(plan("G-1", ceremony.Generate, transport256))
	k := r.key("transport/op/11")
	if k.State != keys.Live || k.KCV == "" || k.Origin != keys.Generated || k.Activated.IsZero() || len(k.Parties) != 1 {
		t.Errorf("%+v", k)
	}
	r.seals("transport/op/11")
	r.clean("G-1")
	tr := r.transcript("G-1")
	if len(tr.Steps) != len(c.Steps)-1 || tr.PlanSHA != c.Digest || tr.Site != "bureau" || tr.Key != "transport/op/11" {
		t.Errorf("%+v", tr)
	}
	for _, s := range tr.Steps {
		if s.Title == "Generate the key in the module" && (s.Result["kcv"] != k.KCV || s.Result["key"] != k.ID) {
			t.Errorf("%+v", s)
		}
	}
	// Everybody said that they are here, two opened the rack, two confirmed.
	if b := r.Verify(); b.Used != 1+1+3+1+2+1+2+1+2+3 {
		t.Errorf("%d warrants were used", b.Used)
	}
	var n int
	r.Must(r.Store.QueryRow(ctx(), `SELECT count(*) FROM notice WHERE kind IN ('ceremony.opened', 'ceremony.closed') AND person = $1`, HSMAdmin).Scan(&n))
	if n != 2 {
		t.Errorf("the HSM administrator was told %d times", n)
	}
	// An algorithm that has no check value is confirmed by its name.
	r.run(plan("G-2", ceremony.Generate, `name: ledger/1, purpose: ledger, algorithm: HMAC-SHA-256`, backup2of3))
	if k := r.key("ledger/1"); k.State != keys.Live || k.KCV != "" {
		t.Errorf("%+v", k)
	}
}

// A key with shares: each holder opened theirs before it may be used, and any
// two of them restore it: for a rehearsal, and when the module has lost it.
func TestBackup(t *testing.T) {
	r := newRoom(t, "op", Options{})
	r.run(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	made := r.key("subscriber/1")
	if made.State != keys.Live || r.left("subscriber/1") != "module, op; share 1 of 3, 1005, G-1; share 2 of 3, 1006, G-1; share 3 of 3, 1007, G-1" {
		t.Errorf("%+v, %s", made, r.left("subscriber/1"))
	}
	dk, wrapped, err := r.Guard.NewDataKey(ctx(), "subscriber/1")
	r.Must(err)
	dk.Close()

	c := r.run(plan("R-1", ceremony.Restore, subscriber, `holders: ["1007", "1005"]`, `rehearsal: true`))
	for _, s := range c.Steps {
		if s.Key == "rebuild" && (s.Result["kcv"] != made.KCV || s.Result["key"] != "rehearsal/R-1") {
			t.Errorf("%+v", s.Result)
		}
	}
	if r.inModule("rehearsal/R-1") || r.key("rehearsal/R-1").State != keys.Destroyed || r.key("subscriber/1").State != keys.Live {
		t.Error("a rehearsal leaves what was, and nothing else")
	}
	// While the module has the key it is not restored under its name.
	_, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(plan("R-2", ceremony.Restore, subscriber, `holders: ["1006", "1005"]`)))
	r.Must(err)
	if len(findings) != 1 || !strings.Contains(findings[0], "key subscriber/1 is in the module, and active") {
		t.Errorf("%q", findings)
	}

	if lost := r.Replace(); len(lost) == 0 {
		t.Error("nothing is lost")
	}
	_, err = r.Module.Module.Generate(ctx(), SiteKey, hsm.SiteSign, hsm.Ed25519)
	r.Must(err)
	r.Reload()
	r.begin(plan("R-2", ceremony.Restore, subscriber, `holders: ["1006", "1005"]`))
	r.to("R-2", ceremony.Confirm)
	if _, err := r.Guard.OpenDataKey(ctx(), "subscriber/1", wrapped); err == nil {
		t.Error("a restored key is used before two people confirmed it")
	}
	r.finish("R-2")
	if k := r.key("subscriber/1"); k.State != keys.Live || k.KCV != made.KCV || !k.Activated.Equal(made.Activated) {
		t.Errorf("%+v", k)
	}
	dk, err = r.Guard.OpenDataKey(ctx(), "subscriber/1", wrapped)
	r.Must(err)
	dk.Close()
	r.clean("R-2")
	r.Verify()
}

// A restore that is aborted after the key is back does not erase it, which
// would use its name up: another ceremony goes on from there.
func TestRestoreAborted(t *testing.T) {
	r := newRoom(t, "op", Options{})
	r.run(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	r.Replace()
	_, err := r.Module.Module.Generate(ctx(), SiteKey, hsm.SiteSign, hsm.Ed25519)
	r.Must(err)
	r.Reload()
	r.begin(plan("R-1", ceremony.Restore, subscriber, `holders: ["1006", "1005"]`))
	r.to("R-1", ceremony.Confirm)
	a, err := r.Act("ceremony.abort", "ceremony/R-1/fire alarm", Officer)
	r.Must(err)
	if !strings.Contains(a.Params["effect"], "waits for another ceremony that restores it") {
		t.Errorf("%v", a.Params)
	}
	r.Must(r.Do("ceremony.abort", "ceremony/R-1/fire alarm", Officer))
	r.clean("R-1")
	if k := r.key("subscriber/1"); k.State != keys.PreActivation || !r.inModule("subscriber/1") {
		t.Errorf("%+v", k)
	}
	r.run(plan("R-2", ceremony.Restore, subscriber, `holders: ["1007", "1005"]`))
	if k := r.key("subscriber/1"); k.State != keys.Live {
		t.Errorf("%+v", k)
	}
}

func TestImportComponents(t *testing.T) {
	for _, n := range []int{2, 3} {
		for _, method := range []hsm.KCVMethod{hsm.CMAC, hsm.GP, hsm.ECBZeros} {
			r := newRoom(t, "bureau", Options{})
			parts, value := components(n, 32)
			key := transport256 + `, kcv: "` + kcv(t, method, value).String() + `"`
			r.begin(plan("I-1", ceremony.ImportComponents, key, r.parts(method, parts...)))
			r.to("I-1", ceremony.Confirm)
			if err := r.Guard.SealColumn(ctx(), "transport/op/11", make([]byte, 16), make([]byte, 16)); err == nil {
				t.Error("an imported key is used before two people confirmed it")
			}
			r.finish("I-1")
			r.is("transport/op/11", value)
			if k := r.key("transport/op/11"); k.Origin != keys.Components || k.KCV != kcv(t, hsm.GP, value).String() {
				t.Errorf("%+v", k)
			}
			if want := n + 2; strings.Count(r.left("transport/op/11"), ";")+1 != want {
				t.Errorf("copies %s, want %d", r.left("transport/op/11"), want)
			}
			r.clean("I-1")
			r.transcript("I-1")
			r.Verify()
			r.holdsNone(parts...)
			r.holdsNone(value)
		}
	}
}

// The check value of an import may be by a method that the module does not
// speak of keys in, and then people compare it with the form.
func TestImportAES128(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	parts, value := components(2, 16)
	r.run(plan("I-1", ceremony.ImportComponents, `name: transport/op/12, purpose: transport, algorithm: AES-128, partner: op, kcv: "`+kcv(t, hsm.CMAC, value).String()+`"`, r.parts(hsm.GP, parts...)))
	r.is("transport/op/12", value)
}

// holdsNone looks for secrets in all that the site wrote, in every form that
// they might have: raw, hex, base64.
func (r *room) holdsNone(secrets ...[]byte) {
	r.Helper()
	files, err := filepath.Glob(filepath.Join(r.Dir, "*"))
	r.Must(err)
	var all [][]byte
	for _, f := range files {
		doc, err := os.ReadFile(f)
		r.Must(err)
		all = append(all, doc)
	}
	for _, e := range r.Entries() {
		leaf, err := e.Leaf()
		r.Must(err)
		all = append(all, leaf)
	}
	if storetest.OnPostgres() {
		all = append(all, storetest.Disk(r.TB, r.Database))
		files = append(files, r.Database)
	}
	if len(files) < 2 || len(all) < 10 {
		r.Errorf("%d files, %d texts: this test looks at nothing", len(files), len(all))
	}
	for _, s := range secrets {
		for _, form := range []string{string(s), fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), base64.StdEncoding.EncodeToString(s)[:20], base64.RawURLEncoding.EncodeToString(s)[:20]} {
			for _, doc := range all {
				if bytes.Contains(doc, []byte(form)) {
					r.Errorf("a secret was written: %x…", s[:4])
				}
			}
		}
	}
}

// A key leaves one site in components and is the same at the other.
func TestExportComponents(t *testing.T) {
	op, maker := newRoom(t, "op", Options{}), newRoom(t, "maker", Options{})
	key := `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: maker`
	op.run(plan("G-1", ceremony.Generate, key))
	value := op.key("transport/op/11").KCV
	c := op.run(plan("E-1", ceremony.ExportComponents, key+`, kcv: "`+value+`"`, exportTo))
	if want := "component 1 of 3, 1005, E-1; component 2 of 3, 1006, E-1; component 3 of 3, 1007, E-1; module, op; partner, maker, E-1"; op.left("transport/op/11") != want {
		t.Errorf("copies %s, want %s", op.left("transport/op/11"), want)
	}
	parts := "parts:\n"
	for _, s := range c.Steps {
		for i, who := range Custodians() {
			if k, ok := s.Result[fmt.Sprintf("kcv_%d", i+1)]; ok {
				parts += fmt.Sprintf("  - {custodian: \"%s\", kcv: \"%s\", form: KTF-%d}\n", who, k, i+1)
			}
		}
	}
	maker.paper = op.paper // the bags went by courier
	maker.run(plan("I-1", ceremony.ImportComponents, transport256+`, kcv: "`+value+`"`, parts))
	if op.seals("transport/op/11") != maker.seals("transport/op/11") {
		t.Error("the key is another at the other site")
	}
	// What came from elsewhere does not leave again.
	_, findings, err := maker.runner.Draft(ctx(), KeyManager, []byte(plan("E-2", ceremony.ExportComponents, transport256, exportTo)))
	maker.Must(err)
	if len(findings) != 1 || !strings.Contains(findings[0], "came from elsewhere, and does not leave again") {
		t.Errorf("%q", findings)
	}
	for _, r := range []*room{op, maker} {
		r.Verify()
		for _, c := range op.paper {
			r.holdsNone(c)
		}
	}
}

// A transport key of triple DES leaves one site and comes to the other as one of AES
// does, under a waiver at each.
func TestTripleDESComponents(t *testing.T) {
	op, maker := newRoom(t, "op", Options{}), newRoom(t, "maker", Options{})
	const key = `name: transport/op/11, purpose: transport, algorithm: 3DES-3KEY, partner: `
	_, findings, err := op.runner.Draft(ctx(), KeyManager, []byte(plan("G-1", ceremony.Generate, key+"maker")))
	op.Must(err)
	if len(findings) != 1 || !strings.Contains(findings[0], "no waiver is in force") {
		t.Errorf("%q", findings)
	}
	for _, r := range []*room{op, maker} {
		w := waiver.Waiver{For: "3DES-3KEY", Reason: "an old HLR", Until: r.Now().AddDate(1, 0, 0)}
		r.Deeds["key.waive"] = r.Register.WaiverDeed(func(string) (keys.Agreed, error) { return keys.Agreed{Contract: "C", Waiver: w}, nil }, r.Guard.Reload)
		r.Must(r.Do("key.waive", "key/transport/op/11", KeyManager, Officer))
	}
	op.run(plan("G-1", ceremony.Generate, key+"maker"))
	value := op.key("transport/op/11").KCV
	c := op.run(plan("E-1", ceremony.ExportComponents, key+`maker, kcv: "`+value+`"`, exportTo))
	parts := "parts:\n"
	for _, s := range c.Steps {
		for i, who := range Custodians() {
			if k, ok := s.Result[fmt.Sprintf("kcv_%d", i+1)]; ok {
				parts += fmt.Sprintf("  - {custodian: \"%s\", kcv: \"%s\", form: KTF-%d}\n", who, k, i+1)
			}
		}
	}
	if strings.Count(parts, " ECB-ZEROS") != 3 {
		t.Error(parts)
	}
	maker.paper = op.paper // the bags went by courier
	maker.run(plan("I-1", ceremony.ImportComponents, key+`op, kcv: "`+value+`"`, parts))
	if op.seals("transport/op/11") != maker.seals("transport/op/11") {
		t.Error("the key is another at the other site")
	}
	for _, r := range []*room{op, maker} {
		r.Verify()
		for _, c := range op.paper {
			if len(c) != 24 {
				t.Errorf("a component has %d bytes", len(c))
			}
			r.holdsNone(c)
		}
	}
}

// certificate is a partner's own, for a public key.
func certificate(t *testing.T, pub any, from, to time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "partner"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return "    " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    ")
}

// sharedKEK gives both rooms the same Exchange key.
func sharedKEK(op, maker *room) {
	op.Helper()
	parts, _ := components(3, 32)
	kek := `name: exchange/1, purpose: exchange, algorithm: AES-256`
	for _, r := range []*room{op, maker} {
		r.run(plan("K-1", ceremony.ImportComponents, kek, r.parts(hsm.CMAC, parts...)))
	}
}

// A key leaves one site wrapped, in every format, and is the same at the other.
func TestWrapped(t *testing.T) {
	op, maker := newRoom(t, "op", Options{}), newRoom(t, "maker", Options{})
	sharedKEK(op, maker)
	unwrap, err := maker.Guard.Generate(ctx(), "unwrap", hsm.Unwrap, hsm.RSA3072)
	op.Must(err)
	agree, err := maker.Guard.Generate(ctx(), "receive", hsm.Agree, hsm.P521)
	op.Must(err)
	from, to := op.Now().Add(-time.Hour), op.Now().Add(time.Hour)
	oaep, ecdh := certificate(t, unwrap.Public.(*rsa.PublicKey), from, to), certificate(t, agree.Public.(*ecdsa.PublicKey), from, to)
	for i, f := range []struct {
		format  hsm.Format
		out, in string
		aes     string
	}{
		{format: hsm.KW, out: "under: exchange/1", in: "under: exchange/1", aes: "AES-256"},
		{format: hsm.KWP, out: "under: exchange/1", in: "under: exchange/1", aes: "AES-128"},
		{format: hsm.TR31, out: "under: exchange/1", in: "under: exchange/1", aes: "AES-256"},
		{format: hsm.OAEP, out: "label: for maker\n  certificate: |\n" + oaep, in: "label: for maker\n  under: unwrap", aes: "AES-128"},
		{format: hsm.ECDH, out: "label: for maker\n  certificate: |\n" + ecdh, in: "label: for maker\n  under: receive", aes: "AES-256"},
	} {
		t.Run(string(f.format), func(t *testing.T) {
			op.TB, maker.TB = t, t
			name := fmt.Sprintf("transport/op/%d", 20+i)
			key := fmt.Sprintf("name: %s, purpose: transport, algorithm: %s", name, f.aes)
			op.run(plan(fmt.Sprint("G-", i), ceremony.Generate, key))
			x := fmt.Sprint("X-", i)
			op.run(plan(x, ceremony.ExportWrapped, key+", partner: maker", fmt.Sprintf("wrap:\n  format: %s\n  %s", f.format, f.out)))
			blob, err := op.runner.Wrapped(ctx(), x)
			op.Must(err)
			value := op.key(name).KCV
			maker.run(plan(fmt.Sprint("W-", i), ceremony.ImportWrapped, key+`, partner: op, kcv: "`+value+`"`,
				fmt.Sprintf("wrap:\n  format: %s\n  %s\n  blob: %s", f.format, f.in, base64.StdEncoding.EncodeToString(blob))))
			if op.seals(name) != maker.seals(name) {
				t.Error("the key is another at the other site")
			}
			if want := fmt.Sprintf("module, op; partner, maker, %s; wrapped, op, %s", x, x); op.left(name) != want {
				t.Errorf("copies %s, want %s", op.left(name), want)
			}
			// The log is kept for ever, and a wrapped key is not.
			for _, e := range op.Entries() {
				if leaf, err := e.Leaf(); err != nil || bytes.Contains(leaf, []byte(base64.StdEncoding.EncodeToString(blob)[:24])) {
					t.Errorf("the log has the wrapped key: %s %v", e.Kind, err)
				}
			}
		})
	}
	op.TB, maker.TB = t, t
	// Whose key was wrapped under it is known when it is compromised.
	op.Must(op.Guard.Flush(ctx()))
	touched, err := op.Register.Touches(ctx(), "exchange/1")
	op.Must(err)
	if got := strings.Join(touched, " "); !strings.Contains(got, "key/transport/op/20") || !strings.Contains(got, "ceremony/X-0") || !strings.Contains(got, "partner/maker") {
		t.Errorf("%s", got)
	}
	op.Verify()
	maker.Verify()
	if _, err := op.runner.Wrapped(ctx(), "K-1"); err == nil {
		t.Error("a ceremony that exports nothing has a wrapped key")
	}
}

// What does not open, or is not what the plan says, does not stay.
func TestWrappedRefused(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	parts, kek := components(3, 32)
	r.run(plan("K-1", ceremony.ImportComponents, `name: exchange/1, purpose: exchange, algorithm: AES-256`, r.parts(hsm.CMAC, parts...)))
	b, err := aes.NewCipher(kek)
	r.Must(err)
	blob, err := hsm.WrapKey(b, secret("wrapped", 32))
	r.Must(err)
	short, err := hsm.WrapKey(b, secret("wrapped", 16))
	r.Must(err)
	zeros, err := hsm.WrapKey(b, make([]byte, 32))
	r.Must(err)
	changed := bytes.Clone(blob)
	changed[9] ^= 1
	right, wrong := kcv(t, hsm.GP, secret("wrapped", 32)).String(), kcv(t, hsm.GP, secret("other", 32)).String()
	for i, c := range []struct {
		blob   []byte
		kcv    string
		target error
		says   string
		state  keys.State
	}{
		{changed, right, hsm.ErrSealed, "", ""},
		{short, right, hsm.ErrAlgorithm, "", ""},
		{zeros, right, hsm.ErrWeakKey, "", ""},
		{blob, wrong, nil, "has the check value " + right + ", the plan says " + wrong, keys.Destroyed},
	} {
		id, name := fmt.Sprint("W-", i), fmt.Sprint("transport/op/", i)
		r.begin(plan(id, ceremony.ImportWrapped, fmt.Sprintf(`name: %s, purpose: transport, algorithm: AES-256, kcv: "%s"`, name, c.kcv),
			"wrap: {format: AES-KW, under: exchange/1, blob: "+base64.StdEncoding.EncodeToString(c.blob)+"}"))
		r.to(id, ceremony.Import_)
		r.Refused(r.next(id), c.target, c.says)
		r.Last("ceremony.failed", "ceremony/"+id)
		if r.key(name).State != c.state || r.inModule(name) {
			t.Errorf("%d: it is %q", i, r.key(name).State)
		}
		r.Must(r.Do("ceremony.abort", "ceremony/"+id+"/it is not the key", KeyManager))
		r.clean(id)
	}
	r.Verify()
}

func TestRotate(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	r.run(plan("G-1", ceremony.Generate, transport256))
	r.begin(plan("T-1", ceremony.Rotate, `name: transport/op/12, purpose: transport, algorithm: AES-256, partner: op`, "old: transport/op/11"))
	r.to("T-1", ceremony.Switch)
	r.seals("transport/op/11") // until the new one is confirmed, and the switch signed
	r.seals("transport/op/12")
	r.finish("T-1")
	if err := r.Guard.SealColumn(ctx(), "transport/op/11", make([]byte, 16), make([]byte, 16)); err == nil {
		t.Error("the old key closes")
	}
	if r.key("transport/op/11").State != keys.Deactivated || r.key("transport/op/12").State != keys.Live {
		t.Errorf("%s, %s", r.key("transport/op/11").State, r.key("transport/op/12").State)
	}
	r.Verify()
}

const destroyer = `people: {key-manager: "1001", hsm-administrator: "1002", security-officer: "1003", witness: "1004"}
`

// destroyPlan is a plan with a witness.
func destroyPlan(id, key string) string {
	return strings.Replace(plan(id, ceremony.Destroy, key), people, destroyer, 1)
}

// A key is erased when every copy of it is gone, and not before.
func TestDestroy(t *testing.T) {
	r := newRoom(t, "op", Options{})
	key := `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: maker`
	r.run(plan("G-1", ceremony.Generate, key, backup2of3))
	r.run(plan("E-1", ceremony.ExportComponents, key, exportTo))
	r.begin(destroyPlan("D-1", key))
	c := r.get("D-1")
	var copies int
	for _, s := range c.Steps {
		if s.Step.Effect == ceremony.CopyGone {
			copies++
			if by := strings.Join(s.Step.By, " "); s.Step.By[len(s.Step.By)-1] != Witness || strings.HasPrefix(s.Copy, "partner") != strings.HasPrefix(by, KeyManager) {
				t.Errorf("%s is destroyed by %s", s.Copy, by)
			}
		}
	}
	if copies != 7 {
		t.Errorf("%d copies are destroyed, want 3 shares, 3 components and the partner's", copies)
	}
	for range copies {
		r.to("D-1", ceremony.CopyGone)
		if r.key("transport/op/11").State != keys.Live {
			t.Fatal("the key went before its copies")
		}
		before := r.left("transport/op/11")
		for range r.now("D-1").Step.By {
			r.Must(r.next("D-1"))
		}
		if r.left("transport/op/11") == before {
			t.Errorf("nothing went: %s", before)
		}
	}
	r.to("D-1", ceremony.Erase)
	r.finish("D-1")
	if k := r.key("transport/op/11"); k.State != keys.Destroyed || r.inModule("transport/op/11") || r.left("transport/op/11") != "" {
		t.Errorf("%+v, %s", k, r.left("transport/op/11"))
	}
	for _, who := range append(Custodians(), Witness) { // those who hold a copy are called, too
		var n int
		r.Must(r.Store.QueryRow(ctx(), `SELECT count(*) FROM notice WHERE kind = 'ceremony.opened' AND subject = 'ceremony/D-1' AND person = $1`, who).Scan(&n))
		if n != 1 {
			t.Errorf("person %s was told %d times", who, n)
		}
	}
	// Nothing brings it back, under its name or by its shares.
	for _, doc := range []string{
		plan("G-2", ceremony.Generate, key), plan("R-1", ceremony.Restore, key, `holders: ["1005", "1006"]`),
		plan("R-2", ceremony.Restore, key, `holders: ["1005", "1006"]`, "rehearsal: true"), destroyPlan("D-2", key),
	} {
		_, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(doc))
		r.Must(err)
		if len(findings) == 0 || !strings.Contains(findings[0], "destroyed") {
			t.Errorf("%q", findings)
		}
	}
	tr := r.transcript("D-1")
	if last := tr.Steps[len(tr.Steps)-3]; len(last.Signatures) != 1 || last.Signatures[0].Person != Witness {
		t.Errorf("%+v", last)
	}
	r.Verify()
}

// A copy that appears while a destruction is under way stops it: its script
// does not know of that copy.
func TestDestroyNewCopy(t *testing.T) {
	r := newRoom(t, "op", Options{})
	r.run(plan("G-1", ceremony.Generate, transport256))
	r.begin(destroyPlan("D-1", transport256))
	r.to("D-1", ceremony.Erase)
	r.putCopy(keys.Copy{Key: "transport/op/11", Kind: keys.CopyWrapped, Holder: "somebody"})
	r.Refused(r.next("D-1"), nil, "1 copies are not gone yet, the first: wrapped, somebody")
	r.Must(r.Do("ceremony.abort", "ceremony/D-1/another copy was found", KeyManager))
	if r.key("transport/op/11").State != keys.Live {
		t.Error("an aborted destruction has destroyed")
	}
	r.run(destroyPlan("D-2", transport256))
	if r.key("transport/op/11").State != keys.Destroyed {
		t.Error("it is still there")
	}
}

// The holder of a copy who is here no more is spoken for by the key manager.
func TestDestroyHolderLeft(t *testing.T) {
	r := newRoom(t, "op", Options{})
	r.run(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	r.setPerson(Custodian2, "left")
	r.begin(destroyPlan("D-1", subscriber))
	var by []string
	for _, s := range r.get("D-1").Steps {
		if s.Step.Effect == ceremony.CopyGone {
			by = append(by, s.Step.By[0])
		}
	}
	if want := []string{Custodian1, KeyManager, Custodian3}; strings.Join(by, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", by, want)
	}
	r.finish("D-1")
}
