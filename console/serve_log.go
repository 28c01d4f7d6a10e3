package console

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"ankan/audit"
)

// What one look at the log reads. A log is not loaded for a page: who filters
// for what is rare is told how far the search came, and goes on from there.
const (
	logChunk = 500
	logMost  = 20_000
	longTime = 30 * time.Minute // for a file, which may be the whole log
)

// A logFilter picks entries. Empty fields pick all.
type logFilter struct {
	kind, actor, subject string
	from, to             time.Time
}

// logMinute is a time as the form has it.
const logMinute = "2006-01-02T15:04"

// logTime reads a time of the form, which is IST.
func logTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.ParseInLocation(logMinute, s, ist)
	return t, err == nil
}

func logFilterOf(v *visit) (logFilter, Form) {
	form := Form{Action: "/log", Values: map[string]string{}, Errors: map[string]Text{}}
	for _, name := range []string{"kind", "actor", "subject", "from", "to"} {
		form.Values[name] = v.form(name)
	}
	f := logFilter{kind: v.form("kind"), actor: v.form("actor"), subject: v.form("subject")}
	for name, to := range map[string]*time.Time{"from": &f.from, "to": &f.to} {
		t, ok := logTime(v.form(name))
		if *to = t; !ok {
			form.Errors[name] = say("log.time.bad")
		}
	}
	return f, form
}

// takes says whether an entry fits. A kind stands for those below it too:
// "act" for "act.approved".
func (f logFilter) takes(e audit.Entry) bool {
	holds := func(all, part string) bool { return strings.Contains(strings.ToLower(all), strings.ToLower(part)) }
	return (f.kind == "" || e.Kind == f.kind || strings.HasPrefix(e.Kind, f.kind+".")) && holds(e.Actor, f.actor) && holds(e.Subject, f.subject) &&
		(f.from.IsZero() || !e.Time.Before(f.from)) && (f.to.IsZero() || e.Time.Before(f.to.Add(time.Minute)))
}

func (f logFilter) all() bool { return f == logFilter{} }

type indexed struct {
	n     int64
	entry audit.Entry
}

// firstSince is the first entry that is not before t. Times in the log never go
// back.
func (s *Server) firstSince(ctx context.Context, t time.Time, size int64) (int64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		if failed != nil {
			return true
		}
		one, err := s.site.Store().Entries(ctx, int64(i), 1)
		if err != nil || len(one) != 1 {
			failed = fmt.Errorf("entry %d: %w", i, errOr(err, errGone))
			return true
		}
		return !one[0].Time.Before(t)
	})
	return int64(n), failed
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// span is the part of the log that the times of a filter leave.
func (s *Server) span(ctx context.Context, f logFilter) (first, end int64, err error) {
	end = s.site.Store().Size()
	if !f.to.IsZero() {
		if end, err = s.firstSince(ctx, f.to.Add(time.Minute), end); err != nil {
			return 0, 0, err
		}
	}
	if !f.from.IsZero() {
		first, err = s.firstSince(ctx, f.from, end)
	}
	return first, end, err
}

// newest is up to onPage entries that fit, newest first, from below the index
// before on, and the lowest index that was looked at: most entries below, the
// search gives up.
func (s *Server) newest(ctx context.Context, f logFilter, first, before, most int64) (found []indexed, at int64, err error) {
	for at = before; at > first && len(found) < onPage && before-at < most; {
		from := max(first, at-logChunk)
		some, err := s.site.Store().Entries(ctx, from, int(at-from))
		if err != nil {
			return nil, 0, err
		}
		if int64(len(some)) != at-from {
			return nil, 0, fmt.Errorf("the log has %d entries from %d on, want %d", len(some), from, at-from)
		}
		for i := len(some) - 1; i >= 0 && len(found) < onPage; i-- {
			if at = from + int64(i); f.takes(some[i]) {
				found = append(found, indexed{at, some[i]})
			}
		}
	}
	return found, at, nil
}

func (s *Server) getLog(v *visit) error {
	f, form := logFilterOf(v)
	p := logPage{Form: form}
	query := v.r.URL.Query()
	query.Del("before")
	p.JSON, p.CSV = localURL(&url.URL{Path: "/log.jsonl", RawQuery: query.Encode()}), localURL(&url.URL{Path: "/log.csv", RawQuery: query.Encode()})
	first, end, err := s.span(v.ctx(), f)
	if err != nil {
		return err
	}
	before := end
	if n, err := strconv.ParseInt(v.form("before"), 10, 64); err == nil && n >= 0 && n < end {
		before = n
		p.Newer = v.with("before", strconv.FormatInt(min(end, n+onPage), 10))
		if !f.all() { // where the page before this one began depends on what fits
			p.Newer = v.with("before", "")
		}
	}
	found, at, err := s.newest(v.ctx(), f, first, before, logMost)
	if err != nil {
		return err
	}
	for _, e := range found {
		line, err := logLine(e.n, e.entry)
		if err != nil {
			return err
		}
		p.Entries = append(p.Entries, line)
	}
	p.Looked = before - at
	if at > first {
		if len(found) == onPage {
			p.Older = v.with("before", strconv.FormatInt(at, 10))
		} else {
			p.Rest = v.with("before", strconv.FormatInt(at, 10))
		}
	}
	kinds := []string{form.Values["kind"]}
	for _, kind := range slices.Concat(slices.Collect(maps.Keys(v.policy.Acts)), logNouns) {
		noun, _, _ := strings.Cut(kind, ".")
		kinds = append(kinds, noun)
	}
	p.Kinds = choices(kinds, form.Values["kind"], func(one string) Text { return plain(one) })
	if p.Checkpoint, err = s.checkpoint(); err != nil {
		return err
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// logNouns are nouns of entries that stand under no act.
var logNouns = []string{"act", "file", "page", "session", "signin", "site", "store", "keys"}

// logLine is an entry in a list.
func logLine(n int64, e audit.Entry) (LogLine, error) {
	leaf, err := e.Leaf()
	if err != nil {
		return LogLine{}, err
	}
	hash := audit.LeafHash(leaf)
	l := LogLine{Index: n, At: e.Time, Actor: e.Actor, Kind: e.Kind, Subject: e.Subject, State: "done", Hash: fmt.Sprintf("%x", hash[:4])}
	if strings.HasSuffix(e.Kind, "refused") || strings.HasSuffix(e.Kind, "failed") {
		l.State = "refused"
	}
	for _, name := range []string{"why", "reason", "text", "path"} {
		if text, ok := e.Data[name].(string); ok && l.Note == "" {
			l.Note = firstBytes(text, 200)
		}
	}
	return l, nil
}

func (s *Server) checkpoint() (Checkpoint, error) {
	signed := s.site.Store().Checkpoint()
	c, err := audit.OpenCheckpoint(signed, s.site.Store().VerifierKey())
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{Origin: c.Origin, Size: c.Size, Root: fmt.Sprintf("%x", c.Root[:]), Signed: s.site.Store().VerifierKey(), Note: string(signed), Href: "/log/checkpoint"}, nil
}

func (s *Server) getCheckpoint(v *visit) error {
	return v.download("text/plain; charset=utf-8", "checkpoint", s.site.Store().Checkpoint())
}

// entryAt is the entry that the address names.
func (s *Server) entryAt(v *visit) (int64, audit.Entry, error) {
	n, err := strconv.ParseInt(v.r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || n >= s.site.Store().Size() {
		return 0, audit.Entry{}, errGone
	}
	one, err := s.site.Store().Entries(v.ctx(), n, 1)
	if err == nil && len(one) != 1 {
		err = errGone
	}
	if err != nil {
		return 0, audit.Entry{}, err
	}
	return n, one[0], nil
}

func (s *Server) getEntry(v *visit) error {
	n, e, err := s.entryAt(v)
	if err != nil {
		return err
	}
	proof, err := s.site.Store().Prove(v.ctx(), n)
	if err != nil {
		return err
	}
	_, c, err := proof.Open(s.site.Store().VerifierKey())
	if err != nil {
		return err
	}
	line, err := logLine(n, e)
	if err != nil {
		return err
	}
	line.Note = ""
	hash := audit.LeafHash(proof.Leaf)
	p := entryPage{Entry: line, Leaf: string(proof.Leaf), LeafHash: fmt.Sprintf("%x", hash[:]), Proof: fmt.Sprintf("/log/%d/proof", n), Key: s.site.Store().VerifierKey(),
		Checkpoint: Checkpoint{Origin: c.Origin, Size: c.Size, Root: fmt.Sprintf("%x", c.Root[:]), Note: string(proof.Signed), Href: "/log/checkpoint"}, Fields: fields("", e.Data)}
	for _, h := range proof.Path {
		p.Path = append(p.Path, fmt.Sprintf("%x", h[:]))
	}
	if n > 0 {
		p.Older = fmt.Sprintf("/log/%d", n-1)
	}
	if n+1 < s.site.Store().Size() {
		p.Newer = fmt.Sprintf("/log/%d", n+1)
	}
	s.entryLinks(v, e, &p)
	s.render(v.w, v.r, 200, p)
	return nil
}

// entryLinks are the pages about what an entry names, as far as the visitor may
// open them, and the act under which it was done.
func (s *Server) entryLinks(v *visit, e audit.Entry, p *entryPage) {
	opens := map[string]string{"key": "keys.read", "ceremony": "ceremonies.read", "person": "people.read", "form": "custody.read", "item": "custody.read", "inventory": "custody.read", "transfer": "custody.read", "rack": "custody.read"}
	for _, what := range []string{e.Subject, e.Actor} {
		noun, _, _ := strings.Cut(what, "/")
		t := touch(what)
		if permission := opens[noun]; permission != "" && v.may(permission) && !slices.Contains(p.Links, t) {
			p.Links = append(p.Links, t)
		}
	}
	for _, name := range []string{"warrant", "id"} { // of what the act allowed, and of its signatures
		id, _ := e.Data[name].(string)
		if st, err := s.site.Desk().Get(v.ctx(), id); id != "" && err == nil && s.concerns(v, st) {
			line := s.lineOf(v.ctx(), st, v.policy, v.me.ID)
			p.Act = &line
			return
		}
	}
}

// fields are the values of an entry's data, each with where it stands. An act
// in canonical form stays one value.
func fields(path string, value any) []Field {
	var all []Field
	switch value := value.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(value)) {
			all = append(all, fields(strings.TrimPrefix(path+"."+k, "."), value[k])...)
		}
	case []any:
		for i, one := range value {
			all = append(all, fields(fmt.Sprintf("%s[%d]", path, i), one)...)
		}
	default:
		all = append(all, Field{path, written(fmt.Sprint(value))})
	}
	return all
}

// getProof is the proof that an entry is in the log (C2SP tlog-proof).
func (s *Server) getProof(v *visit) error {
	n, _, err := s.entryAt(v)
	if err != nil {
		return err
	}
	proof, err := s.site.Store().Prove(v.ctx(), n)
	if err != nil {
		return err
	}
	return v.download("text/plain; charset=utf-8", fmt.Sprintf("entry-%d.tlog-proof", n), proof.Bytes())
}

// long gives an answer that is a file more time than a page has. What was begun
// when the time is over is broken off, not ended as if it were whole.
func (v *visit) long() (context.Context, context.CancelFunc, error) {
	rc := http.NewResponseController(v.w)
	if err := rc.SetWriteDeadline(time.Now().Add(longTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx()), longTime)
	return ctx, cancel, nil
}

// getLogExport is the whole log as tiles, for ankan-verify.
func (s *Server) getLogExport(v *visit) error {
	ctx, cancel, err := v.long()
	if err != nil {
		return err
	}
	defer cancel()
	v.head("application/x-tar", s.site.Config().Site+"-log.tar")
	return s.site.LogExport(ctx, v.w)
}

// each calls f for every entry that fits, oldest first.
func (s *Server) each(v *visit, f func(indexed) error) error {
	ctx, cancel, err := v.long()
	if err != nil {
		return err
	}
	defer cancel()
	filter, form := logFilterOf(v)
	for range form.Errors {
		return errGone
	}
	first, end, err := s.span(ctx, filter)
	if err != nil {
		return err
	}
	for at := first; at < end; {
		some, err := s.site.Store().Entries(ctx, at, int(min(logChunk, end-at)))
		if err != nil {
			return err
		}
		if len(some) == 0 {
			return fmt.Errorf("the log ends before entry %d", at)
		}
		for _, e := range some {
			if filter.takes(e) {
				if err := f(indexed{at, e}); err != nil {
					return err
				}
			}
			at++
		}
	}
	return nil
}

// getLogJSON is the filtered log as lines of JSON: each the entry's index and
// the very bytes that the log hashes.
func (s *Server) getLogJSON(v *visit) error {
	v.head("application/jsonl; charset=utf-8", s.site.Config().Site+"-log.jsonl")
	return s.each(v, func(e indexed) error {
		leaf, err := e.entry.Leaf()
		if err == nil {
			_, err = fmt.Fprintf(v.w, `{"index":%d,"entry":%s}`+"\n", e.n, leaf)
		}
		return err
	})
}

func (s *Server) getLogCSV(v *visit) error {
	v.head("text/csv; charset=utf-8; header=present", s.site.Config().Site+"-log.csv")
	w := csv.NewWriter(v.w)
	w.UseCRLF = true
	if err := w.Write([]string{"index", "time", "kind", "actor", "subject", "data", "leaf_sha256"}); err != nil {
		return err
	}
	err := s.each(v, func(e indexed) error {
		leaf, err := e.entry.Leaf()
		if err != nil {
			return err
		}
		data, err := e.entry.DataJSON()
		if err != nil {
			return err
		}
		hash := audit.LeafHash(leaf)
		return w.Write(cells([]string{strconv.FormatInt(e.n, 10), e.entry.Time.UTC().Format(time.RFC3339Nano), e.entry.Kind, e.entry.Actor, e.entry.Subject, string(data), fmt.Sprintf("%x", hash[:])}))
	})
	w.Flush()
	return errOr(err, w.Error())
}
