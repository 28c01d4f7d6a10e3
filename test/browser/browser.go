// Package browser drives Chromium for tests of the console: one browser, and
// for each person a profile of their own with an authenticator of their own.
package browser

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// A Browser is one running Chromium.
type Browser struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// patience is how long anything may take in a tab.
const patience = 30 * time.Second

// New starts a Chromium without a window, with a fresh profile. It reaches
// nothing but this machine: every name but localhost is unknown to it, and
// those under "test" are this machine, as an origin that is not trusted by
// being local. Flags are added to the command line.
func New(flags ...chromedp.ExecAllocatorOption) (*Browser, error) {
	opts := append([]chromedp.ExecAllocatorOption{
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"),
	}, flags...)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	b := &Browser{ctx, func() { cancel(); stop() }}
	if err := chromedp.Do(ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("starting chromium; scripts/packages installs it: %w", err)
	}
	return b, nil
}

// Start is New for one test.
func Start(tb testing.TB, flags ...chromedp.ExecAllocatorOption) *Browser {
	tb.Helper()
	b, err := New(flags...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

// Close ends the browser and all its tabs.
func (b *Browser) Close() { b.cancel() }

// A Person is a tab in a profile of its own, so that no two persons share a
// session, with an authenticator that only this person has.
type Person struct {
	tb     testing.TB
	ctx    context.Context
	device webauthn.AuthenticatorID

	mu     sync.Mutex
	errors []string
}

// Key is what a person's authenticator is unless a test asks for another: a
// security key that verifies its user, with the PRF extension.
func Key() *webauthn.VirtualAuthenticatorOptions {
	return &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportUsb,
		HasUserVerification: true, IsUserVerified: true, HasResidentKey: true, HasPrf: true, AutomaticPresenceSimulation: true,
	}
}

// Person opens a tab for a person; a nil key is Key.
func (b *Browser) Person(tb testing.TB, key *webauthn.VirtualAuthenticatorOptions) *Person {
	tb.Helper()
	p := &Person{tb: tb}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	tb.Cleanup(cancel)
	p.ctx = ctx
	if key == nil {
		key = Key()
	}
	// The first Run makes the tab, which lives as long as the context that it
	// is given: it must not have a timeout.
	made, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (webauthn.AddVirtualAuthenticatorResult, error) {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return webauthn.AddVirtualAuthenticatorResult{}, err
		}
		return cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: key})
	})
	if err != nil {
		tb.Fatal("opening a tab: ", err)
	}
	p.device = made.AuthenticatorID
	return p
}

// hear keeps what the page's console says of errors.
func (p *Person) hear(ev any) {
	var text string
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		text = (&chromedp.ExceptionError{ExceptionDetails: ev.ExceptionDetails}).Error()
	case *log.EventEntryAdded:
		if ev.Entry.Level != log.EntryLevelError {
			return
		}
		text = ev.Entry.Text + " " + ev.Entry.URL
	case *runtime.EventConsoleAPICalled:
		if t := chromedp.ConsoleType(ev.Type); t != chromedp.ConsoleError && t != "assert" {
			return
		}
		var args []string
		for _, a := range ev.Args {
			args = append(args, string(a.Value)+a.Description)
		}
		text = strings.Join(args, " ")
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors = append(p.errors, text)
}

// Errors are what the console said of errors since the last call: exceptions,
// console.error, resources that were not found, what the page's policy forbade.
func (p *Person) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.errors
	p.errors = nil
	return e
}

// Do does actions in the tab, such as those of package chromedp. What does not
// succeed in time fails the test.
func (p *Person) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.tb.Helper()
	Get(p, chromedp.Steps(actions...))
}

// Get does one action and gives its value.
func Get[T any](p *Person, action chromedp.Action[T]) T {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.tb.Fatalf("%v; the console said %q", err, p.Errors())
	}
	return v
}

// Open goes to a page. A form that was answered without a page may still be on
// its way, and the browser gives the second navigation up: it is asked again.
func (p *Person) Open(url string) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil && !strings.Contains(err.Error(), "net::ERR_ABORTED") {
		p.tb.Fatalf("%v; the console said %q", err, p.Errors())
	} else if err == nil {
		return
	}
	p.Do(chromedp.Navigate(url))
}

// Try is Eval that gives an error where the page goes away meanwhile.
func (p *Person) Try(expression string, out any) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	doc, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		return err
	}
	return json.Unmarshal(doc, out)
}

// Eval evaluates an expression in the page as if the person had clicked, waits
// for its promise, and reads its JSON into out.
func (p *Person) Eval(expression string, out any) {
	p.tb.Helper()
	doc := Get(p, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise, func(e *runtime.EvaluateParams) { e.UserGesture = new(true) }))
	if out == nil {
		return
	}
	if err := json.Unmarshal(doc, out); err != nil {
		p.tb.Fatalf("what the page gave is not what the test wants: %v", err)
	}
}

// SetVerified says whether the authenticator recognises the person from now
// on.
func (p *Person) SetVerified(ok bool) {
	p.tb.Helper()
	Get(p, call(webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: p.device, IsUserVerified: ok}))
}

// Credentials are the passkeys on the person's authenticator.
func (p *Person) Credentials() []*webauthn.Credential {
	p.tb.Helper()
	return Get(p, call(webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: p.device})).Credentials
}

func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) }
}

// Screenshot writes the whole page to a PNG file.
func (p *Person) Screenshot(path string) {
	p.tb.Helper()
	if err := os.WriteFile(path, Get(p, chromedp.FullScreenshot(100)), 0o644); err != nil {
		p.tb.Fatal(err)
	}
}

// A Violation is a rule of accessibility that a page breaks.
type Violation struct {
	ID     string   `json:"id"`
	Impact string   `json:"impact"`
	Help   string   `json:"help"`
	Nodes  []string `json:"nodes"` // selectors
}

// String is one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s (%s): %s: %s", v.ID, v.Impact, v.Help, strings.Join(v.Nodes, ", "))
}

// The version of axe-core that scripts/packages brings.
const (
	axeVersion = "4.14.1"
	axeSHA256  = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
)

func axe() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "ankan", "axe-core-"+axeVersion+".min.js")
	source, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("axe-core %s, which scripts/packages brings: %w", axeVersion, err)
	}
	if sum := sha256.Sum256(source); hex.EncodeToString(sum[:]) != axeSHA256 {
		return "", fmt.Errorf("%s is not axe-core %s; remove it and run scripts/packages", path, axeVersion)
	}
	return string(source), nil
}

// wcag are the tags of the rules of WCAG 2.2 AA.
var wcag = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}

// Axe runs the rules of axe-core for WCAG 2.2 AA over the page as it is now, or
// those of them that have one of these tags too.
func (p *Person) Axe(tags ...string) []Violation {
	p.tb.Helper()
	source, err := axe()
	if err != nil {
		p.tb.Fatal(err)
	}
	if len(tags) == 0 {
		tags = wcag
	}
	list, err := json.Marshal([][]string{tags, wcag})
	if err != nil {
		p.tb.Fatal(err)
	}
	var out []Violation
	p.Eval(`if (!window.axe) {`+source+`} null`, nil)
	p.Eval(`(([tags, wcag]) => axe.run(document, {resultTypes: ["violations"], runOnly: {type: "rule", values:
		axe.getRules(tags).filter((r) => r.tags.some((t) => wcag.includes(t)) && !r.tags.some((t) => t === "experimental" || t === "deprecated")).map((r) => r.ruleId)}}).then((r) =>
		r.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map((n) => n.target.join(" "))}))))(`+string(list)+`)`, &out)
	return out
}

// ErrScript is wrapped by what Call gives if the function throws.
var ErrScript = errors.New("script threw")

// Call imports a module of the page's own origin as m and evaluates body, an
// expression in which a holds the arguments, and reads its JSON into out. If
// it throws, the error holds the thrown object's code.
func (p *Person) Call(module, body string, args, out any) error {
	p.tb.Helper()
	doc, err := json.Marshal(args)
	if err != nil {
		p.tb.Fatal(err)
	}
	from, err := json.Marshal(module)
	if err != nil {
		p.tb.Fatal(err)
	}
	var got struct {
		OK   json.RawMessage `json:"ok"`
		Code string          `json:"code"`
	}
	p.Eval(fmt.Sprintf(`(async (a) => {
		const m = await import(%s);
		try { return {ok: (await (%s)) ?? null}; } catch (e) { return {code: String(e.code || e)}; }
	})(%s)`, from, body, doc), &got)
	if got.Code != "" {
		return fmt.Errorf("%w: %s", ErrScript, got.Code)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(bytes.NewReader(got.OK)).Decode(out)
}
