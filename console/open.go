package console

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"time"

	"ankan/passkey/attest"
	"ankan/site"
)

// Open is the console that a site's configuration asks for.
func Open(st *site.Site, log *slog.Logger, version string) (*Server, error) {
	d, err := doorOf(st.Config(), st.Store().Now())
	if err != nil {
		return nil, err
	}
	return NewServer(ServerConfig{Site: st, Listen: d.listen, TLS: d.tls, Party: d.party, Log: log, Version: version, Embedded: !st.Token().Info().Certified})
}

// A doorway is where browsers come in, and whom they register there.
type doorway struct {
	listen string
	tls    *tls.Config
	party  attest.Party
}

// doorOf is what a configuration says of the console, at a time.
func doorOf(site *site.Config, now time.Time) (doorway, error) {
	c := site.Console
	d := doorway{listen: c.Listen}
	var err error
	if d.party, err = originOf(c); err != nil {
		return d, err
	}
	if d.tls, err = tlsOf(c); err != nil {
		return d, fmt.Errorf("console: %w", err)
	}
	d.party.Name, d.party.AllowSoftware = site.Display, c.AllowSoftware
	if d.party.Metadata, err = metadataOf(c, now); err != nil {
		return d, fmt.Errorf("console: %w", err)
	}
	for _, text := range c.Models {
		var id attest.AAGUID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return d, fmt.Errorf("console: models: %w", err)
		}
		d.party.Models = append(d.party.Models, id)
	}
	return d, nil
}

// Origin is the console's address.
func (s *Server) Origin() string { return s.cfg.Party.Origin }

// Address is the host name and the origin that passkeys of a site are bound to.
func Address(c *site.Config) (host, origin string, err error) {
	d, err := originOf(c.Console)
	return d.RPID, d.Origin, err
}

func originOf(c site.Console) (attest.Party, error) {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return attest.Party{}, fmt.Errorf("console: listen is %q: %w", c.Listen, err)
	}
	if c.Origin == "" {
		c.Origin = "http://localhost:" + port
		if c.Certificate != "" {
			c.Origin = "https://localhost:" + port
		}
	}
	u, err := url.Parse(c.Origin)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" {
		return attest.Party{}, fmt.Errorf("console: origin is %q, want one like https://keys.example", c.Origin)
	}
	return attest.Party{RPID: u.Hostname(), Origin: c.Origin}, nil
}

func tlsOf(c site.Console) (*tls.Config, error) {
	if c.Certificate == "" && c.Key == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, err
	}
	// A client certificate is a first proof of somebody whose record names it; it
	// is not asked of everybody.
	t := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}}
	if c.Clients != "" {
		text, err := os.ReadFile(c.Clients)
		if err != nil {
			return nil, err
		}
		t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !t.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", c.Clients)
		}
	}
	return t, nil
}

// metadataOf is what the site knows of authenticators; nil if it knows nothing.
func metadataOf(c site.Console, now time.Time) (*attest.Metadata, error) {
	if c.Metadata == "" && c.Statements == "" {
		return nil, nil
	}
	m := &attest.Metadata{}
	if c.Metadata != "" {
		blob, err := os.ReadFile(c.Metadata)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(c.MetadataRoot)
		if err != nil {
			return nil, fmt.Errorf("metadata_root: %w", err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, errors.New("metadata_root is not PEM")
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("metadata_root: %w", err)
		}
		if err := m.ReadBLOB(blob, root, now); err != nil {
			return nil, err
		}
	}
	if c.Statements != "" {
		if err := m.ReadStatements(os.DirFS(c.Statements)); err != nil {
			return nil, err
		}
	}
	return m, nil
}
