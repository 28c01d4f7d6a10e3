package site_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/backup"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/hsm/hsmtest"
	"ankan/message"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store/storetest"
)

// talk has from send a message that nobody takes to to, who hears what stands
// beside it.
func talk(t *testing.T, from, to *site.Site, name string) error {
	t.Helper()
	return sitetest.Message(t, from, to, name, message.AlarmAck{Key: "none", By: "1", At: time.Unix(1, 0).UTC()})
}

// TestPartnersAreWitnesses: a site whose whole machine was put back, module and
// high-water file too, hears of it from the first partner who writes; and that
// partner notices by itself.
func TestPartnersAreWitnesses(t *testing.T) {
	if storetest.OnPostgres() {
		return // what is put back here is a file
	}
	a, b := sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "maker", site.Bureau)
	ta, tb := sitetest.Init(t, a, parts.All()...), sitetest.Init(t, b, parts.All()...)
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	op, maker := sitetest.Open(t, a, ta, parts.All()...), sitetest.Open(t, b, tb, parts.All()...)

	old := storetestCopy(t, maker, b)
	for range 5 {
		if err := maker.Store().Enter(t.Context(), audit.Entry{Kind: "test.noted", Actor: "test", Subject: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := op.PartnerCheckpoint(t.Context(), "maker"); err == nil {
		t.Error("a checkpoint that never came")
	}
	talk(t, maker, op, "one.alarm-ack.pgp")
	sum := sha256.Sum256(sitetest.Must[[]byte](t)(os.ReadFile(filepath.Join(b.SpoolDir(), "out", "op", "one.alarm-ack.pgp.data"))))
	one := &edge.File{Meta: edge.Meta{Partner: "maker", Name: "one.alarm-ack.pgp", SHA256: fmt.Sprintf("%x", sum)}, Path: filepath.Join(b.SpoolDir(), "out", "op", "one.alarm-ack.pgp.data")}
	if err := op.Refuse(t.Context(), one, "nobody asked"); err != nil {
		t.Fatal(err)
	}
	kept, err := op.PartnerCheckpoint(t.Context(), "maker")
	if err != nil || kept.Size == 0 || kept.Lost != "" {
		t.Fatalf("%+v, %v", kept, err)
	}
	if err := talk(t, op, maker, "two.alarm-ack.pgp"); errors.Is(err, site.ErrLocked) {
		t.Fatal("locked for nothing:", err)
	}
	if ok, err := maker.Witness(t.Context(), []byte(kept.Checkpoint)); err != nil || !ok || maker.Locked() != nil {
		t.Errorf("a checkpoint that the log continues: %t, %v", ok, err)
	}
	if _, err := maker.Witness(t.Context(), op.Store().Checkpoint()); err == nil {
		t.Error("a checkpoint of another log was taken")
	}

	// Yesterday's machine.
	maker.Close()
	if err := os.WriteFile(b.Database(), old, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{b.Database() + "-wal", b.Database() + "-shm", b.HighWaterFile()} {
		os.Remove(path)
	}
	maker = sitetest.Open(t, b, tb, parts.All()...)
	if maker.Locked() != nil {
		t.Fatal("locked before anybody said anything:", maker.Locked())
	}
	if err := talk(t, op, maker, "three.alarm-ack.pgp"); !errors.Is(err, site.ErrLocked) || !strings.Contains(err.Error(), "partner op keeps a checkpoint") {
		t.Fatalf("%v, want that it is locked by what op keeps", err)
	}
	l := maker.Locked()
	if l == nil || l.Lost() != kept.Size || l.Signs[0].From != "partner/op" {
		t.Errorf("%+v, want the sign of op up to entry %d", l, kept.Size)
	}
	// It seals nothing any more, and says why at every door.
	if err := maker.Send(t.Context(), "op", "four.alarm-ack.pgp", message.JSON(1)); !errors.Is(err, site.ErrLocked) {
		t.Errorf("sealing while locked: %v", err)
	}
}

// storetestCopy is a site's database as it is now, as a file.
func storetestCopy(t *testing.T, s *site.Site, c *site.Config) []byte {
	t.Helper()
	if err := s.Store().Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sitetest.Must[[]byte](t)(os.ReadFile(c.Database()))
}

// TestHighWaterFile: a file that is broken locks the site too; one that is
// behind does not.
func TestHighWaterFile(t *testing.T) {
	c := sitetest.Config(t, "maker", site.Bureau)
	token := sitetest.Init(t, c, parts.All()...)
	s := sitetest.Open(t, c, token, parts.All()...)
	behind := s.Store().Checkpoint()
	if err := s.Store().Enter(t.Context(), audit.Entry{Kind: "test.noted", Actor: "test", Subject: "test"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if now, err := os.ReadFile(c.HighWaterFile()); err != nil || string(now) == string(behind) {
		t.Errorf("%v, the file was not written when the site closed", err)
	}
	for _, tt := range []struct {
		content []byte
		locked  bool
	}{{behind, false}, {[]byte("nonsense"), true}} {
		if err := os.WriteFile(c.HighWaterFile(), tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := sitetest.Open(t, c, token, parts.All()...)
		if l := s.Locked(); (l != nil) != tt.locked || l != nil && l.Signs[0].From != "high-water" {
			t.Errorf("%.20q: locked: %+v, want %t", tt.content, l, tt.locked)
		}
		s.Close()
	}
}

// crew is three people who may hold shares.
func crew(t *testing.T) sitetest.Crew {
	all := sitetest.Founders(t)
	key := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
	all.Keys["0003"] = key
	all.People = append(all.People, act.Person{ID: "0003", Name: "Person", Roles: []string{"hsm-administrator"}, Employment: act.Permanent, Credential: key.Credential})
	return all
}

// TestNewModule restores a site whose machine and security module are gone: its
// log goes on under another key, and what only the old module had is missing,
// not made anew.
func TestNewModule(t *testing.T) {
	for role, missing := range map[string]string{site.Bureau: "ledger", site.Operator: "subscriber"} {
		t.Run(role, func(t *testing.T) {
			c := sitetest.Config(t, "maker", role)
			people := crew(t)
			token := hsmtest.Soft(t, nil)
			if err := site.Init(t.Context(), c, token, people.Founding(t, c), func(string) {}, parts.All()...); err != nil {
				t.Fatal(err)
			}
			s := sitetest.Open(t, c, token, parts.All()...)
			path := filepath.Join(t.TempDir(), "backup")
			f := sitetest.Must[*os.File](t)(os.Create(path))
			m := sitetest.Must[backup.Manifest](t)(s.Backup(t.Context(), f, "test", site.BackupPlan{}))
			if err := errors.Join(f.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
			card := sitetest.Must[*exchange.Partner](t)(exchange.ParsePartner("partner.yaml", sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile()))))
			if err := os.Rename(c.Data, filepath.Join(t.TempDir(), "lost")); err != nil {
				t.Fatal(err)
			}
			if storetest.OnPostgres() {
				c.Server.URL = storetest.New(t) // the server is gone with it
			}
			fresh := hsmtest.Soft(t, nil)
			how := site.Restoring{File: path, Persons: []string{"0001", "0003"}, NewModule: true,
				Open: site.Passkeys(people.Keys["0001"].(*passkey.Soft), people.Keys["0003"].(*passkey.Soft))}
			if _, err := site.Restore(t.Context(), c, fresh, how, parts.All()...); err == nil || !strings.Contains(err.Error(), "--card") {
				t.Fatalf("without the card: %v", err)
			}
			how.Card = card
			r, err := site.Restore(t.Context(), c, fresh, how, parts.All()...)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Rows) == 0 || r.LogSize == 0 {
				t.Errorf("%+v, %+v", m, r)
			}
			again := sitetest.Open(t, c, fresh, parts.All()...)
			if again.Locked() == nil {
				t.Error("not locked")
			}
			if again.Store().VerifierKey() == card.Card().Log {
				t.Error("the log has the key that is gone")
			}
			if _, err := again.Store().Fsck(t.Context(), again.Store().VerifierKey()); err != nil {
				t.Error(err)
			}
			if _, err := fresh.Key(t.Context(), missing); err == nil {
				t.Error("another key is in the place of the one that is gone")
			}
			all := sitetest.Must[[]audit.Entry](t)(again.Store().Entries(t.Context(), r.LogSize, 10))
			if !slices.ContainsFunc(all, func(e audit.Entry) bool {
				return e.Kind == "site.restored" && e.Data["log_key_before"] == card.Card().Log
			}) {
				t.Errorf("no entry says that the log's key is another: %+v", all)
			}
			mine := sitetest.Must[*exchange.Partner](t)(exchange.ParsePartner("partner.yaml", sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile()))))
			if mine.Card().Log == card.Card().Log || mine.Fingerprint() == card.Fingerprint() {
				t.Error("the card is the old one")
			}
		})
	}
}

func TestBackupRefuses(t *testing.T) {
	c := sitetest.Config(t, "maker", site.Bureau)
	people := crew(t)
	token := hsmtest.Soft(t, nil)
	if err := site.Init(t.Context(), c, token, people.Founding(t, c), func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	s := sitetest.Open(t, c, token, parts.All()...)
	for name, plan := range map[string]site.BackupPlan{
		"all of them must come":        {Threshold: 3},
		"one alone opens it":           {Threshold: 1},
		"two custodians":               {Custodians: []string{"0001", "0002"}},
		"one custodian twice":          {Custodians: []string{"0001", "0002", "0003", "0001"}},
		"somebody whom we do not know": {Custodians: []string{"0001", "0002", "0009"}},
	} {
		if _, err := s.Backup(t.Context(), new(strings.Builder), "test", plan); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
	if err := s.Store().Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(c.Data, "backup-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
