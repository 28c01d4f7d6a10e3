package notice

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A post is what a webhook gets.
type post struct {
	ID      int64     `json:"id"` // the notice's: a second copy has the same
	Site    string    `json:"site"`
	Person  string    `json:"person"`
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Link    string    `json:"link,omitempty"`
	At      time.Time `json:"at"`
}

// webhook posts notices to a URL. It follows no redirect and asks no proxy:
// the configuration names every peer.
func (c Config) webhook() (channel, error) {
	u, err := checkURL("webhook: url", c.Webhook.URL)
	if err != nil {
		return channel{}, err
	}
	key, err := c.secret("webhook: secret_file", c.Webhook.SecretFile)
	if err != nil {
		return channel{}, err
	}
	if len(key) < minSecret {
		return channel{}, fmt.Errorf("webhook: secret_file has %d bytes, want at least %d", len(key), minSecret)
	}
	t, err := tlsConfig("webhook", u.Hostname(), c.Webhook.CA)
	if err != nil {
		return channel{}, err
	}
	transport := &http.Transport{TLSClientConfig: t, ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	send := func(ctx context.Context, _ string, n Notice) error {
		body, err := json.Marshal(post{n.ID, c.Site, n.Person, n.Kind, n.Subject, n.Text, c.link(n), n.At.UTC()})
		if err != nil {
			return answer{err.Error()}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
		if err != nil {
			return errors.New("the URL cannot be asked")
		}
		stamp := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "ankan")
		req.Header.Set("Ankan-Timestamp", stamp)
		req.Header.Set("Ankan-Signature", "sha256="+sign(key, stamp, body))
		res, err := client.Do(req)
		if err != nil {
			var with *url.Error
			if errors.As(err, &with) {
				err = with.Err // without the URL: it may hold a secret
			}
			return err
		}
		defer res.Body.Close()
		io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection can be used again
		if res.StatusCode < 200 || res.StatusCode > 299 {
			return answer{fmt.Sprintf("the server answered %d, want 2xx", res.StatusCode)}
		}
		return nil
	}
	everybody := func(string) (string, bool) { return "", true }
	return channel{name: "webhook", to: everybody, send: send, stop: transport.CloseIdleConnections}, nil
}

// sign is the HMAC-SHA256 over timestamp and body, in hex.
func sign(key []byte, stamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, stamp+".")
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}
