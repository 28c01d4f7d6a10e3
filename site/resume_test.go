package site_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"ankan/audit"
	"ankan/exchange/edge"
	"ankan/message"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// face is a site's edge while it runs.
func face(t *testing.T, s *site.Site, partner *site.Site) (address string) {
	t.Helper()
	spool := sitetest.Must[*edge.Spool](t)(edge.OpenSpool(s.Config().SpoolDir()))
	theirs := sitetest.Must[*edge.Keys](t)(edge.Load(partner.Config().EdgeDir()))
	e := sitetest.Must[*edge.Edge](t)(edge.New(edge.Config{
		Name: s.Config().Site, Listen: "127.0.0.1:0", Keys: sitetest.Must[*edge.Keys](t)(edge.Load(s.Config().EdgeDir())), Spool: spool,
		Peers: []edge.Peer{{Name: partner.Config().Site, Certificate: theirs.Certificate(), SSH: theirs.SSH()}},
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, spool.Close()); err != nil {
			t.Error(err)
		}
	})
	return e.Addr()
}

// call is a call of an edge by a stock client, with the keys of a site.
func call(t *testing.T, address string, as *site.Site, do func(*sftp.Client) error) {
	t.Helper()
	dir := as.Config().EdgeDir()
	own := sitetest.Must[tls.Certificate](t)(tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")))
	key := sitetest.Must[ssh.Signer](t)(ssh.ParsePrivateKey(sitetest.Must[[]byte](t)(os.ReadFile(filepath.Join(dir, "ssh.key")))))
	c := sitetest.Must[*tls.Conn](t)(tls.Dial("tcp", address, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true}))
	conn, channels, requests, err := ssh.NewClientConn(c, address, &ssh.ClientConfig{
		User: as.Config().Site, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	over := ssh.NewClient(conn, channels, requests)
	client := sitetest.Must[*sftp.Client](t)(sftp.NewClient(over))
	if err := do(client); err != nil {
		t.Error(err)
	}
	client.Close()
	over.Close()
	over.Wait()
}

// TestR10_ResumedWithOtherBytes: an upload breaks, and goes on with the bytes of
// another file of the same partner, which are good as well. The whole is refused,
// put aside, and did nothing.
func TestR10_ResumedWithOtherBytes(t *testing.T) {
	op, maker := sitetest.Pair(t, parts.All()...)
	address := face(t, maker, op)
	send := func(name string) []byte {
		m := message.Alarm{Key: "none", At: time.Now().UTC().Truncate(time.Second), Why: strings.Repeat("why ", 100)}
		if err := op.Send(t.Context(), "maker", name, message.JSON(m)); err != nil {
			t.Fatal(err)
		}
		return sitetest.Must[[]byte](t)(os.ReadFile(filepath.Join(op.Config().SpoolDir(), "out", "maker", name+".data")))
	}
	other := send("op-other.alarm.pgp")
	for name, c := range map[string]struct {
		rest func(own []byte, half int) []byte
		want string
	}{
		"op-1.alarm.pgp": {func(own []byte, half int) []byte { return other[half:] }, "ask the partner to send it again"},
		"op-2.alarm.pgp": {func(own []byte, half int) []byte { return nil }, "ask the partner to send it again"},
		"op-3.alarm.pgp": {func(own []byte, half int) []byte { return own[half:] }, "key none is not known here"}, // it was read
	} {
		own := send(name)
		half := len(own) / 2
		upload(t, address, op, name, os.O_CREATE, 0, own[:half])
		upload(t, address, op, name, 0, half, c.rest(own, half))
		call(t, address, op, func(c *sftp.Client) error { return c.Rename("/inbox/"+name+".part", "/inbox/"+name) })
		size := maker.Store().Size()
		sitetest.Must[bool](t)(maker.Turn(t.Context()))
		var refused []audit.Entry
		for _, e := range sitetest.Must[[]audit.Entry](t)(maker.Store().Entries(t.Context(), size, 100)) {
			switch e.Kind {
			case "file.refused":
				refused = append(refused, e)
			case "transfer.received", "keys.used":
			default:
				t.Errorf("%s: the log has %s", name, e.Kind)
			}
		}
		if len(refused) != 1 || !strings.Contains(fmt.Sprint(refused[0].Data["reasons"]), c.want) {
			t.Errorf("%s: refused with %v, want %q", name, refused, c.want)
		}
		aside := sitetest.Must[[]string](t)(filepath.Glob(filepath.Join(maker.Config().SpoolDir(), "quarantine", "op", "*-"+name+".data")))
		if len(aside) != 1 {
			t.Errorf("%s: put aside are %v", name, aside)
		}
	}
}

// upload writes a piece of a part over a connection of its own.
func upload(t *testing.T, address string, as *site.Site, name string, flags, at int, b []byte) {
	t.Helper()
	call(t, address, as, func(c *sftp.Client) error {
		f, err := c.OpenFile("/inbox/"+name+".part", os.O_WRONLY|flags)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, int64(at))
		return errors.Join(err, f.Close())
	})
}
