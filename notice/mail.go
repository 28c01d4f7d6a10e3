package notice

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

func (s *SMTP) check() error {
	switch {
	case s.Host == "" || s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("smtp: host is %q and port %d, want both", s.Host, s.Port)
	case s.TLS != startTLS && s.TLS != implicitTLS && s.TLS != noTLS:
		return fmt.Errorf("smtp: tls is %q, want %s, %s, or on loopback %s", s.TLS, startTLS, implicitTLS, noTLS)
	case s.TLS == noTLS && !loopback(s.Host):
		return fmt.Errorf("smtp: tls is %s and %s is not loopback; want %s or %s", noTLS, s.Host, startTLS, implicitTLS)
	case (s.User == "") != (s.PasswordFile == ""):
		return errors.New("smtp: want user and password_file, or neither")
	case s.TLS == noTLS && s.User != "":
		return fmt.Errorf("smtp: a password goes over TLS only; want %s or %s", startTLS, implicitTLS)
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		return fmt.Errorf("smtp: from is %q, want a mail address", s.From)
	}
	return nil
}

// mail sends notices to people's addresses, over one connection a round.
func (c Config) mail(addressOf func(string) (string, bool)) (channel, error) {
	s := c.SMTP
	options := []gomail.Option{gomail.WithPort(s.Port), gomail.WithTimeout(c.timeout), gomail.WithoutNoop()}
	t, err := tlsConfig("smtp", s.Host, s.CA)
	if err != nil {
		return channel{}, err
	}
	options = append(options, gomail.WithTLSConfig(t))
	switch s.TLS {
	case startTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case implicitTLS:
		options = append(options, gomail.WithSSL())
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.User != "" {
		password, err := c.secret("smtp: password_file", s.PasswordFile)
		if err != nil {
			return channel{}, err
		}
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(string(password)))
	}
	client, err := gomail.NewClient(s.Host, options...)
	if err != nil {
		return channel{}, fmt.Errorf("smtp: %w", err)
	}
	open := false
	hangUp := func() {
		if open {
			client.Close() // it said what it had to say
		}
		open = false
	}
	send := func(ctx context.Context, to string, n Notice) error {
		m, err := c.message(to, n)
		if err != nil {
			return answer{err.Error()}
		}
		if !open {
			if err := client.DialWithContext(ctx); err != nil {
				return err
			}
			open = true
		}
		err = client.Send(m)
		if err == nil {
			return nil
		}
		// The library's own text names the recipient, who is none of the log's business.
		var failed *gomail.SendError
		if !errors.As(err, &failed) {
			failed = &gomail.SendError{Reason: gomail.ErrAmbiguous}
		}
		if code := failed.ErrorCode(); code != 0 && code != 421 && !m.IsDelivered() {
			return answer{strings.TrimSpace(fmt.Sprintf("%s: the server answered %d %s", failed.Reason, code, failed.EnhancedStatusCode()))}
		}
		hangUp()
		if m.IsDelivered() {
			return nil // the server took it; what failed came after
		}
		return fmt.Errorf("%s: no answer", failed.Reason)
	}
	to := func(person string) (string, bool) {
		if address, is, ok := contactMail(person); is {
			return address, ok
		}
		return addressOf(person)
	}
	return channel{name: "mail", to: to, send: send, stop: hangUp}, nil
}

// message is a notice as mail: plain text. Its Message-ID is that of the
// notice, so that a second copy is known for one.
func (c Config) message(to string, n Notice) (*gomail.Msg, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.From(c.SMTP.From); err != nil {
		return nil, err
	}
	if err := m.To(to); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(m.GetAddrHeader(gomail.HeaderFrom)[0].Address, "@")
	m.SetMessageIDWithValue(fmt.Sprintf("ankan.%s.%d@%s", c.Site, n.ID, domain))
	m.SetDateWithValue(n.At)
	m.SetGenHeader(gomail.Header("Auto-Submitted"), "auto-generated") // RFC 3834, 5
	m.Subject(oneLine(fmt.Sprintf("[%s] %s: %s", c.Site, n.Kind, n.Subject)))
	text := n.Text + "\n"
	if link := c.link(n); link != "" {
		text += "\n" + link + "\n"
	}
	whom := "to person " + n.Person
	answer := "Sign in at the console to answer; never by mail."
	if _, is, _ := contactMail(n.Person); is {
		whom, answer = "as a contract asks for", "Do not answer by mail."
	}
	text += fmt.Sprintf("\nSite %s told this %s on %s. %s\n", c.Site, whom, n.At.UTC().Format(time.DateTime+" UTC"), answer)
	m.SetBodyString(gomail.TypeTextPlain, text)
	return m, nil
}

// link is where the console shows what a notice is about; "" if nobody said
// where the console is.
func (c Config) link(n Notice) string {
	if c.ConsoleURL == "" || n.Link == "" {
		return ""
	}
	return strings.TrimSuffix(c.ConsoleURL, "/") + n.Link
}

// oneLine keeps a header one header.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
