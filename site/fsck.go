package site

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/keys"
	"ankan/perso"
	"ankan/stock"
	"ankan/store"
)

// A Finding is something that is not as it should be, and what to do about it.
type Finding struct {
	Check string `json:"check"` // log, database, acts, entries, blocks, ledger, line, stock, files, spool, keys, rollback
	What  string `json:"what"`
	Next  string `json:"next"`
}

// A FsckReport is what Fsck looked at, so that nobody takes a look at nothing for
// a site that is whole.
type FsckReport struct {
	Entries  int64     `json:"entries"`
	Acts     int64     `json:"acts"` // used, with every signature verified
	Blocks   int64     `json:"blocks"`
	Accounts int64     `json:"accounts"` // of the stock
	Keys     int64     `json:"keys"`
	Files    int64     `json:"files"`
	Repaired []string  `json:"repaired,omitempty"`
	Findings []Finding `json:"findings"`
}

// nextRestore is what to do about data that is not what was written.
const nextRestore = "keep the data folder for the investigation, and restore a backup: ankan restore"

// Fsck checks all of a site that does not run. It changes nothing, unless repair
// says that what can be derived may be made anew: the log's tiles. Its error says
// that it could not look.
func Fsck(ctx context.Context, c *Config, token hsm.Module, repair bool, parts ...Part) (r FsckReport, err error) {
	r.Findings = []Finding{}
	k := &fsck{FsckReport: &r, ctx: ctx, config: c, token: token, repair: repair}
	if err := c.checkNoRestore(); err != nil {
		k.find("files", "a restore was cut short", err.Error())
		return r, nil
	}
	if err := k.files(); err != nil {
		return r, err
	}
	cfg, err := storeConfig(ctx, c, c.clock().Now, token)
	if err != nil {
		return r, err
	}
	if _, err := os.Stat(c.Database()); errors.Is(err, fs.ErrNotExist) && !store.IsPostgres(c.Database()) {
		k.find("database", fmt.Sprintf("%s is not there", c.Database()), nextRestore)
		return r, nil
	}
	k.store, err = store.Open(ctx, cfg, Schemas(parts...)...)
	if errors.Is(err, audit.Missing) || errors.Is(err, audit.Altered) || errors.Is(err, audit.Rewritten) {
		// It may be the tiles alone.
		if k.retile(cfg) {
			k.store, err = store.Open(ctx, cfg, Schemas(parts...)...)
		}
	}
	switch {
	case errors.Is(err, store.ErrNewer):
		k.find("database", err.Error(), "use the newer program: an older one changes nothing")
		return r, nil
	case err != nil && strings.Contains(err.Error(), "in use"), errors.Is(err, store.ErrPrimary), errors.Is(err, store.ErrAway):
		return r, err
	case err != nil:
		k.find("database", err.Error(), nextRestore)
		return r, nil
	}
	defer func() { err = errors.Join(err, k.store.Close()) }()
	if err := k.log(cfg); err != nil {
		return r, err
	}
	for _, step := range []func() error{k.replay, k.people, k.rows, k.line, k.stock, k.keys, k.rollback, k.spool} {
		if err := step(); err != nil {
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			k.find("database", err.Error(), nextRestore)
		}
	}
	return r, nil
}

type fsck struct {
	*FsckReport
	ctx    context.Context
	config *Config
	token  hsm.Module
	repair bool
	store  *store.Store

	blocks map[string]string // digests by order and number, as the log has them
	said   map[string]string // digests of people, policies and acts, likewise
}

func (k *fsck) find(check, what, next string) {
	k.Findings = append(k.Findings, Finding{check, what, next})
}

// retile makes the tiles anew, if that is allowed and helps.
func (k *fsck) retile(cfg store.Config) bool {
	if !k.repair {
		return false
	}
	if err := store.Retile(k.ctx, cfg); err != nil {
		k.find("log", err.Error(), nextRestore)
		return false
	}
	k.Repaired = append(k.Repaired, "the log's tiles, from its entries")
	return true
}

// log checks the database's structure and references, every entry and tile.
func (k *fsck) log(cfg store.Config) error {
	rep, err := k.store.Fsck(k.ctx, k.store.VerifierKey())
	k.Entries = rep.Entries
	if err == nil {
		return nil
	}
	if k.ctx.Err() != nil {
		return k.ctx.Err()
	}
	if strings.Contains(err.Error(), "tile") && k.repair {
		if err := k.store.Close(); err != nil {
			return err
		}
		done := k.retile(cfg)
		if k.store, err = store.Open(k.ctx, cfg); err != nil {
			return err
		}
		if rep, err = k.store.Fsck(k.ctx, k.store.VerifierKey()); done && err == nil {
			k.Entries = rep.Entries
			return nil
		}
	}
	next := nextRestore
	if strings.Contains(err.Error(), "tile") {
		next = "tiles can be computed from the entries, if these are whole: ankan fsck --repair"
	}
	k.find("log", err.Error(), next)
	return nil
}

// replay goes through the log: what was done had leave, and what rows refer to
// is there.
func (k *fsck) replay() error {
	var book act.Book
	k.blocks, k.said = map[string]string{}, map[string]string{}
	bad := ""
	for from := int64(0); from < k.store.Size(); {
		all, err := k.store.Entries(k.ctx, from, 1000)
		if err != nil {
			return err
		}
		for i, e := range all {
			data, err := e.DataJSON()
			if err == nil && bad == "" {
				if err := book.Apply(e.Kind, e.Subject, e.Time, data); err != nil {
					bad = fmt.Sprintf("entry %d, %s: %v", from+int64(i), e.Kind, err)
				}
			}
			if err == nil {
				err = k.remember(e.Kind, data)
			}
			if err != nil {
				return err
			}
			switch {
			case e.Kind == act.ActUsed:
				k.Acts++
			case strings.HasPrefix(e.Kind, "batch.block-"):
				k.blocks[fmt.Sprint(strings.TrimPrefix(e.Subject, "order/"), " ", e.Data["block"])] = fmt.Sprint(e.Data["sha256"])
			}
		}
		if len(all) == 0 {
			break
		}
		from += int64(len(all))
	}
	if bad == "" {
		if err := book.End(); err != nil {
			bad = err.Error()
		}
	}
	if bad != "" {
		k.find("acts", bad, "something was done without leave: stop the site and look into it")
	}
	return nil
}

// remember keeps what an entry says of people, policy and acts.
func (k *fsck) remember(kind string, data []byte) error {
	person := func(p act.Person) { k.said["person "+p.ID] = fmt.Sprintf("%x", p.Digest()) }
	policy := func(p act.Policy) { k.said[fmt.Sprint("policy ", p.Version)] = fmt.Sprintf("%x", p.Digest()) }
	switch kind {
	case act.SiteFounded:
		var e act.FoundingEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		policy(e.Founding.Policy)
		for _, p := range e.Founding.People {
			person(p)
		}
	case act.PolicyAdopted:
		var e act.PolicyEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		policy(e.Policy)
	case act.PersonEnrolled, act.AdministratorEnrolled:
		var e act.PersonEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		person(e.Person)
	case act.ActRequested:
		var e act.ActEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		k.said["act "+e.ID] = digestOf([]byte(e.Act))
	}
	return nil
}

// people compares people, policies and acts with what the log says of them.
func (k *fsck) people() error {
	there := map[string]string{}
	read := func(query string, digest func(id string, doc []byte) (string, string, error)) error {
		rows, err := k.store.Query(k.ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var doc []byte
			if err := rows.Scan(&id, &doc); err != nil {
				return err
			}
			name, sum, err := digest(id, doc)
			if err != nil {
				sum = err.Error()
			}
			there[name] = sum
		}
		return rows.Err()
	}
	err := errors.Join(
		read(`SELECT id, document FROM person`, func(id string, doc []byte) (string, string, error) {
			var p act.Person
			err := json.Unmarshal(doc, &p)
			return "person " + id, fmt.Sprintf("%x", p.Digest()), err
		}),
		read(`SELECT CAST(version AS TEXT), document FROM policy`, func(id string, doc []byte) (string, string, error) {
			var p act.Policy
			err := json.Unmarshal(doc, &p)
			return "policy " + id, fmt.Sprintf("%x", p.Digest()), err
		}),
		read(`SELECT id, canonical FROM act`, func(id string, doc []byte) (string, string, error) { return "act " + id, digestOf(doc), nil }))
	if err != nil {
		return err
	}
	for name, sum := range k.said {
		if there[name] != sum {
			k.find("entries", fmt.Sprintf("%s is not what the log says of it", name), nextRestore)
		}
		delete(there, name)
	}
	for name := range there {
		k.find("entries", fmt.Sprintf("%s is there, and the log says nothing of it", name), nextRestore)
	}
	return nil
}

// rows compares tables with the log.
func (k *fsck) rows() error {
	blocks, err := k.store.Query(k.ctx, `SELECT ord, n, sealed FROM block`)
	if err != nil {
		return err
	}
	defer blocks.Close()
	for blocks.Next() {
		var ord string
		var n int64
		var sealed []byte
		if err := blocks.Scan(&ord, &n, &sealed); err != nil {
			return err
		}
		k.Blocks++
		want, ok := k.blocks[fmt.Sprint(ord, " ", n)]
		if sum := fmt.Sprintf("%x", sha256.Sum256(sealed)); !ok || sum != want {
			k.find("blocks", fmt.Sprintf("order %s, block %d: its digest is %.12s…, the log says %q", ord, n, sum, want), nextRestore)
		}
	}
	if err := errors.Join(blocks.Err(), blocks.Close()); err != nil {
		return err
	}
	if err := k.each("blocks", nextRestore, `SELECT 'order ' || b.ord || ' has ' || (SELECT count(*) FROM block k WHERE k.ord = b.ord) || ' blocks, and is ' || o.state
		FROM batch b JOIN orders o ON o.id = b.ord WHERE o.state NOT IN ('accepted', 'released')
		AND (SELECT count(*) FROM block k WHERE k.ord = b.ord) <> (b.cards + b.spares + b.block_size - 1) / b.block_size`); err != nil {
		return err
	}
	if err := k.each("entries", nextRestore, `SELECT 'key ' || key || ': an event names entry ' || entry || ', the log has fewer' FROM key_event WHERE entry >= $1`, k.store.Size()); err != nil {
		return err
	}
	if err := k.each("entries", nextRestore, `SELECT 'the stock''s posting ' || id || ' names entry ' || entry || ', the log has fewer' FROM stock_posting WHERE entry >= $1`, k.store.Size()); err != nil {
		return err
	}
	if k.config.Is(Bureau) {
		// What was accepted before the ledger kept orders is in it under no name.
		return k.each("ledger", nextRestore, `SELECT 'order ' || id || ' is ' || state || ', and the ledger holds no identity of it' FROM orders
			WHERE state NOT IN ('drafted', 'submitted', 'refusing', 'refused') AND NOT EXISTS (SELECT 1 FROM ledger_order l JOIN ledger_share h ON h.ord = l.n WHERE l.ord = id
				AND CASE WHEN EXISTS (SELECT 1 FROM order_abandoned a WHERE a.ord = id) THEN l.state = 'retired' ELSE l.state IN ('reserved', 'issued') END)
			AND NOT (EXISTS (SELECT 1 FROM ledger_order WHERE n = 0) AND NOT EXISTS (SELECT 1 FROM ledger_order l WHERE l.ord = id OR l.n > 0
				AND l.at <= (SELECT min(at) FROM order_step p WHERE p.ord = id AND p.state = 'accepted')))`)
	}
	return nil
}

// each makes a finding of every row of one text.
func (k *fsck) each(check, next, query string, args ...any) error {
	all, err := store.Collect(k.store.Committed(k.ctx), store.Column[string], query, args...)
	for _, text := range all {
		k.find(check, text, next)
	}
	return err
}

// line compares the line's totals with its cards.
func (k *fsck) line() error {
	if !k.config.Is(Plant) {
		return nil
	}
	wrong, err := perso.Recount(k.store.Committed(k.ctx))
	for _, what := range wrong {
		k.find("line", what, nextRestore)
	}
	return err
}

// stock adds the postings up again.
func (k *fsck) stock() error {
	if err := k.store.QueryRow(k.ctx, `SELECT count(*) FROM stock_balance`).Scan(&k.Accounts); err != nil {
		return err
	}
	wrong, err := stock.Recount(k.store.Committed(k.ctx))
	for _, what := range wrong {
		k.find("stock", what, nextRestore)
	}
	return err
}

// keys compares the register with the module.
func (k *fsck) keys() error {
	r := keys.NewRegister(k.config.Site, k.store, access.New(k.store))
	known, n, err := r.Keys(k.ctx, keys.Filter{})
	if err != nil {
		return err
	}
	k.Keys = int64(n)
	signs, err := r.Behind(k.ctx, k.token)
	if err != nil {
		return err
	}
	for _, text := range signs {
		k.find("rollback", text, "the site locks itself when it starts; see the handbook about the rollback lock")
	}
	have, err := k.token.Keys(k.ctx)
	if err != nil {
		return err
	}
	in := map[string]hsm.Key{}
	for _, h := range have {
		in[h.ID] = h
	}
	for _, key := range known {
		h, there := in[key.ID]
		switch {
		case key.State == keys.Making:
		case key.State == keys.Destroyed && there:
			k.find("keys", fmt.Sprintf("key %s is destroyed in the register, and is in the security module", key.ID), "find out from where it came, and erase it there")
		case key.State != keys.Destroyed && !there:
			k.find("keys", fmt.Sprintf("key %s is %s in the register, and is not in the security module", key.ID, key.State), "restore it from its backup, or put the right module back")
		case there && (key.Purpose != string(h.Purpose) || key.Algorithm != string(h.Algorithm) || key.KCV != h.KCV.String()):
			k.find("keys", fmt.Sprintf("key %s is another one in the security module", key.ID), "put the right module back")
		}
	}
	return nil
}

// rollback compares the log with what is kept outside of it.
func (k *fsck) rollback() error {
	lock, err := readLock(k.store.Committed(k.ctx))
	if err != nil {
		return err
	}
	if lock != nil {
		k.find("rollback", "the site is locked: "+lock.Sentence(), "start it, set right what the lost time did, and unlock it: ankan act request site.unlock site")
	}
	s := &Site{config: k.config, store: k.store}
	s.high.path = k.config.HighWaterFile()
	sign, err := s.belowHighWater(k.ctx)
	if err == nil && sign != nil {
		k.find("rollback", sign.Text, "the site locks itself when it starts; see the handbook about the rollback lock")
	}
	return err
}

// files checks who may read what, and what is there.
func (k *fsck) files() error {
	c := k.config
	own := func(path string, most fs.FileMode) error {
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || path == "" {
			return nil
		}
		if err != nil {
			return err
		}
		k.Files++
		if fi.Mode().Perm()&^most != 0 {
			k.find("files", fmt.Sprintf("%s can be read or written by others (mode %o)", path, fi.Mode().Perm()), fmt.Sprintf("chmod %o %s", fi.Mode().Perm()&most, path))
		}
		return nil
	}
	for _, path := range []string{c.Database(), c.Database() + "-wal", c.Token.File, c.Token.Passphrase, c.HighWaterFile(), c.Console.Key} {
		if err := own(path, 0o700); err != nil {
			return err
		}
	}
	for _, dir := range []string{c.Data, c.EdgeDir(), c.LineDir()} {
		if err := own(dir, 0o700); err != nil {
			return err
		}
	}
	if _, err := os.Stat(c.CardFile()); errors.Is(err, fs.ErrNotExist) {
		k.find("files", fmt.Sprintf("%s is not there: the site is not set up, or a restore was cut short", c.CardFile()), "set the site up, or move the data folder away and restore again")
	}
	if _, err := os.Stat(c.Path(restoringDir)); err == nil {
		k.find("files", fmt.Sprintf("%s is there: a restore was cut short", c.Path(restoringDir)), "move the data folder away and restore again")
	}
	left, err := filepath.Glob(filepath.Join(c.Data, stagePrefix+"*"))
	for _, path := range left {
		k.find("files", fmt.Sprintf("%s was left behind by a backup that was cut short", path), "rm -r "+path)
	}
	return err
}

// spool looks for content without its record, and records without content.
func (k *fsck) spool() error {
	for _, part := range []string{"in", "out"} {
		base := filepath.Join(k.config.SpoolDir(), part)
		err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			k.Files++
			ext := filepath.Ext(path)
			other := map[string]string{".data": ".json", ".json": ".data"}[ext]
			if other == "" {
				k.find("spool", path+" does not belong there", "look at it, and move it away")
				return nil
			}
			if _, err := os.Stat(strings.TrimSuffix(path, ext) + other); errors.Is(err, fs.ErrNotExist) {
				k.find("spool", fmt.Sprintf("%s has no %s beside it", path, other), "it was cut short and counts for nothing: move it away; its sender sends it again")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
