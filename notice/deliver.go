package notice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ankan/audit"
	"ankan/store"
)

// A Config says where notices go, beside the console. The zero Config sends
// nothing.
type Config struct {
	SMTP    *SMTP    `yaml:"smtp"`
	Webhook *Webhook `yaml:"webhook"`
	// ConsoleURL is where people open the console, "https://bureau.example";
	// a notice's link follows it.
	ConsoleURL string `yaml:"console_url"`

	// Site is the site's short name.
	Site string `yaml:"-"`
	// Secret reads a file that only its owner may read.
	Secret func(path string) ([]byte, error) `yaml:"-"`

	timeout time.Duration // of one message; 0: 10 s
}

// SMTP is the mail server that takes notices (RFC 5321).
type SMTP struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
	// TLS is "starttls" (RFC 3207), "implicit" (RFC 8314), or "none", which is
	// taken on loopback alone.
	TLS          string `yaml:"tls"`
	CA           string `yaml:"ca,omitempty"` // PEM file of certificates to trust instead of the system's
	User         string `yaml:"user,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	From         string `yaml:"from"`
}

// A Webhook takes notices as JSON over HTTPS, or HTTP on loopback. Each is
// signed: the header Ankan-Signature is "sha256=" and the HMAC-SHA256, in hex,
// of the header Ankan-Timestamp (Unix seconds), a dot, and the body.
type Webhook struct {
	URL        string `yaml:"url"`
	CA         string `yaml:"ca,omitempty"` // PEM file of certificates to trust instead of the system's
	SecretFile string `yaml:"secret_file"`
}

// minSecret is the shortest secret of a webhook, in bytes.
const minSecret = 16

// The ways to speak TLS to a mail server.
const (
	startTLS    = "starttls"
	implicitTLS = "implicit"
	noTLS       = "none"
)

// Check refuses a configuration that would send in the clear, or nowhere.
func (c Config) Check() error {
	if c.ConsoleURL != "" {
		if _, err := checkURL("console_url", c.ConsoleURL); err != nil {
			return err
		}
	}
	if c.SMTP != nil {
		if err := c.SMTP.check(); err != nil {
			return err
		}
	}
	if c.Webhook == nil {
		return nil
	}
	if c.Webhook.SecretFile == "" {
		return errors.New("webhook: secret_file is missing: name a file with at least 16 bytes that the receiver has too")
	}
	_, err := checkURL("webhook: url", c.Webhook.URL)
	return err
}

// checkURL does not repeat what it refuses: a URL may hold a secret.
func checkURL(what, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%s: found no URL with a host, want https://HOST/…", what)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%s: found http to %s, want https: only loopback goes without TLS", what, u.Hostname())
	case u.User != nil:
		return nil, fmt.Errorf("%s: found a user or password in it, want none", what)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) secret(what, path string) ([]byte, error) {
	if c.Secret == nil {
		return nil, fmt.Errorf("%s: nothing reads secrets here", what)
	}
	b, err := c.Secret(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

// tlsConfig trusts the certificates in a file, or the system's.
func tlsConfig(what, host, ca string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM", what, ca)
	}
	return t, nil
}

const (
	giveUp     = 24 * time.Hour // after a notice was written
	firstPause = time.Minute
	maxPause   = time.Hour
	maxRound   = 200 // notices
	maxBroken  = 2   // messages in a row without an answer, and the server is down
)

// A channel takes notices out of the site.
type channel struct {
	name string
	// to is where a person's notices go; not ok: they have no place there.
	to   func(person string) (string, bool)
	send func(ctx context.Context, to string, n Notice) error
	stop func()
}

// An answer is an error that the server itself gave: it is there, and does not
// want this one.
type answer struct{ text string }

func (a answer) Error() string { return a.text }

// A waiter is a notice that has not left the site by every channel.
type waiter struct {
	Notice
	done  []string // channels that took it
	tries int      // in vain
	errs  []error  // of this round, by channel
	sent  string   // when all of them had it, or why they never will; "" while it waits
	next  string   // time of the next try
}

// Deliver sends what waits, oldest first, by every channel, in one round; call
// it again and again. What a server does not take is tried again after 1, 2,
// 4... minutes, at most an hour, for a day; then the log says that it was given
// up. A round that sent or failed leaves entries, in one change.
//
// A notice goes out at least once. What was sent when the site was killed, or
// whose answer was lost, goes out again, with the same Message-ID and number.
// Rounds of one Board do not overlap; use one Board.
func (b *Board) Deliver(ctx context.Context, c Config, addressOf func(person string) (mail string, ok bool)) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.timeout == 0 {
		c.timeout = 10 * time.Second
	}
	b.round.Lock()
	defer b.round.Unlock()
	channels, err := c.channels(addressOf)
	if err != nil {
		return err
	}
	due, err := b.due(ctx)
	if err != nil || len(due) == 0 {
		return err
	}
	var wg sync.WaitGroup
	for i := range due {
		due[i].errs = make([]error, len(channels))
	}
	took := make([][]bool, len(channels))
	for k, ch := range channels {
		took[k] = make([]bool, len(due))
		wg.Go(func() { ch.round(ctx, c.timeout, due, k, took[k]) })
	}
	wg.Wait()
	return b.settle(context.WithoutCancel(ctx), channels, due, took)
}

func (c Config) channels(addressOf func(string) (string, bool)) ([]channel, error) {
	var all []channel
	if c.SMTP != nil {
		ch, err := c.mail(addressOf)
		if err != nil {
			return nil, err
		}
		all = append(all, ch)
	}
	if c.Webhook != nil {
		ch, err := c.webhook()
		if err != nil {
			return nil, err
		}
		all = append(all, ch)
	}
	return all, nil
}

// errLeft marks what a round did not come to.
var errLeft = errors.New("no time was left in this round")

// round sends what it can in six times the time of one message. took and the
// k-th error of each notice are its own.
func (ch channel) round(ctx context.Context, timeout time.Duration, due []waiter, k int, took []bool) {
	defer ch.stop()
	ends := time.Now().Add(6 * timeout)
	broken := 0
	var last error
	for i, n := range due {
		to, ok := ch.to(n.Person)
		switch {
		case !ok || slices.Contains(n.done, ch.name):
			continue
		case broken == maxBroken:
			due[i].errs[k] = last
			continue
		case ctx.Err() != nil || time.Now().After(ends):
			due[i].errs[k] = errLeft
			continue
		}
		one, cancel := context.WithTimeout(ctx, timeout)
		err := ch.send(one, to, n.Notice)
		cancel()
		var said answer
		switch {
		case err == nil:
			took[i], broken = true, 0
		case ctx.Err() != nil:
			due[i].errs[k] = errLeft
		default:
			last = fmt.Errorf("%s: %w", ch.name, err)
			due[i].errs[k] = last
			if broken++; errors.As(err, &said) {
				broken = 0
			}
		}
	}
}

// due are the notices whose time has come, oldest first.
func (b *Board) due(ctx context.Context) ([]waiter, error) {
	return store.Collect(b.store.Committed(ctx), func(rows *sql.Rows) (w waiter, err error) {
		var at, done string
		if err = rows.Scan(&w.ID, &w.Person, &w.Kind, &w.Subject, &w.Text, &w.Link, &at, &done, &w.tries); err != nil {
			return w, err
		}
		if w.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return w, fmt.Errorf("notice %d: %w", w.ID, err)
		}
		w.done = strings.Fields(done)
		return w, nil
	}, `SELECT id, person, kind, subject, text, link, at, done, tries FROM notice
		WHERE sent = '' AND not_before <= $1 ORDER BY id LIMIT $2`, b.store.Now().UTC().Format(sortable), maxRound)
}

// sortable is RFC 3339 in UTC with all digits, so that times sort as text.
const sortable = "2006-01-02T15:04:05.000000000Z"

// settle writes down what became of a round, with its entries.
func (b *Board) settle(ctx context.Context, channels []channel, due []waiter, took [][]bool) error {
	now := b.store.Now().UTC()
	sent, failed := map[string]any{}, map[string]any{}
	var kept, gaveUp []int64
	var why []string
	for i := range due {
		w := &due[i]
		for k, ch := range channels {
			if took[k][i] {
				w.done = append(w.done, ch.name)
				note(sent, ch.name, w.ID)
			}
			if err := w.errs[k]; err != nil && err != errLeft {
				note(failed, ch.name, w.ID)
				if text := short(err.Error()); !slices.Contains(why, text) && len(why) < 10 {
					why = append(why, text)
				}
			}
		}
		w.settle(now)
		switch {
		case w.sent == noWay:
			kept = append(kept, w.ID)
		case strings.HasPrefix(w.sent, gaveUpFor):
			gaveUp = append(gaveUp, w.ID)
		}
	}
	var entries []audit.Entry
	if len(sent) > 0 {
		entries = append(entries, audit.Entry{Kind: "notice.sent", Data: sent})
	}
	if len(failed) > 0 {
		failed["gave_up"], failed["why"] = gaveUp, why
		entries = append(entries, audit.Entry{Kind: "notice.failed", Data: failed})
	}
	if len(kept) > 0 {
		entries = append(entries, audit.Entry{Kind: "notice.kept", Data: map[string]any{"notices": kept, "why": noWay}})
	}
	if len(entries) == 0 {
		return nil // the round came to nothing
	}
	for i := range entries {
		entries[i].Actor, entries[i].Subject = "system:notice", "notices"
	}
	return b.store.Change(ctx, entries[0], func(tx *store.Tx) error {
		for _, e := range entries[1:] {
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		for _, w := range due {
			if _, err := tx.Exec(`UPDATE notice SET sent = $1, done = $2, tries = $3, not_before = $4 WHERE id = $5`,
				w.sent, strings.Join(w.done, " "), w.tries, w.next, w.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// note adds a notice to a channel's list.
func note(lists map[string]any, channel string, id int64) {
	list, _ := lists[channel].([]int64)
	lists[channel] = append(list, id)
}

// What stands in the place of the time when a notice was sent.
const (
	noWay     = "there is no channel or address for it"
	gaveUpFor = "gave up: "
)

// settle decides what becomes of a notice after a round.
func (w *waiter) settle(now time.Time) {
	left := slices.Contains(w.errs, errLeft)
	errs := slices.DeleteFunc(slices.Clone(w.errs), func(err error) bool { return err == nil || err == errLeft })
	last := w.At.Add(giveUp)
	switch {
	case len(errs) > 0 && !now.Before(last):
		w.sent = gaveUpFor + short(errors.Join(errs...).Error())
	case len(errs) > 0:
		at := now.Add(min(firstPause<<min(w.tries, 10), maxPause))
		if at.After(last) {
			at = last
		}
		w.tries, w.next = w.tries+1, at.Format(sortable)
	case left: // as it was
	case len(w.done) > 0:
		w.sent = now.Format(time.RFC3339Nano)
	default:
		w.sent = noWay
	}
}

// short bounds what a server said.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 300)], "") }
