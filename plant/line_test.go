package plant

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ankan/perso"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/station"
)

// A station comes, is shown and logged, and goes; a stranger is refused.
func TestStations(t *testing.T) {
	must := sitetest.Must[station.Fingerprint](t)
	dir := t.TempDir()
	known := must(station.NewIdentity(filepath.Join(dir, "st-a"), "st-a"))
	must(station.NewIdentity(filepath.Join(dir, "stranger"), "st-a"))
	free := sitetest.Must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	c := sitetest.Config(t, "line", site.Plant)
	c.Line = site.LineConfig{Listen: free.Addr().String(), Stations: map[string]string{"st-a": known.String(), "st-b": station.Fingerprint{1}.String()}}
	c.Stations = []site.StationConfig{{Name: "drawer-1", Network: "unix", Address: filepath.Join(dir, "none")}}
	token := sitetest.Init(t, c, Part())
	free.Close()
	at := sitetest.Open(t, c, token, Part())
	s := &plant{Site: at}
	var err error
	if s.line, err = newLine(at); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.serveStations(ctx) }()
	wait := func(what string, done func(Stations) bool) Stations {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if v, err := s.stations(); err == nil && v.Key != "" && done(v) {
				return v
			}
		}
		t.Fatal(what)
		return Stations{}
	}
	v := wait("the door does not open", func(v Stations) bool {
		probe, err := net.Dial("tcp", c.Line.Listen)
		if err == nil {
			probe.Close()
		}
		return err == nil && len(v.Away) == 2
	})
	plantKey := must(station.ParseFingerprint(v.Key))
	dial := func(name string) (net.Conn, error) {
		own, _, err := station.LoadIdentity(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return tls.Dial("tcp", c.Line.Listen, station.TLSConfig(own, &plantKey))
	}
	conn := sitetest.Must[net.Conn](t)(dial("st-a"))
	slots := []station.Slot{{Name: "1", Open: func(context.Context) (station.Reader, error) { return nil, station.ErrAway }}}
	left := make(chan error, 1)
	up, leave := context.WithCancel(ctx)
	go func() { left <- station.Attend(up, conn, "1.2", slots) }()
	v = wait("the station does not come", func(v Stations) bool { return len(v.Here) == 1 })
	if v.Here[0].Station != "st-a" || len(v.Away) != 1 || v.Away[0] != "st-b" || len(v.Drawers) != 1 || v.Order != "" {
		t.Errorf("%+v", v)
	}
	if place := <-s.places(up); place.Name != "drawer-1" {
		t.Errorf("%+v comes first", place)
	}
	stranger := sitetest.Must[net.Conn](t)(dial("stranger"))
	if err := station.Attend(ctx, stranger, "1.2", slots); err == nil {
		t.Error("a stranger works")
	}
	leave()
	<-left
	wait("the station does not go", func(v Stations) bool { return len(v.Here) == 0 })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all, err := perso.Presences(t.Context(), at.Store())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && !all[0].Here {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", all)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	entries, err := at.Store().Entries(t.Context(), 0, int(at.Store().Size()))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range entries {
		if (strings.HasPrefix(e.Kind, "station.") || e.Kind == "line.listening") && e.Data["key"] != (station.Fingerprint{}).String() { // the probe has none
			kinds = append(kinds, e.Kind+" "+e.Actor)
		}
	}
	if got := strings.Join(kinds, ", "); got != "line.listening system:site, station.connected station/st-a, station.refused station/unknown, station.gone station/st-a" {
		t.Errorf("the log has %s", got)
	}
}

// The line makes one order at a time, and counts none of its chips while it
// makes it.
func TestOneOrderAtATime(t *testing.T) {
	l, ctx := &line{held: map[string]bool{}}, t.Context()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if !l.take("A") || l.take("B") || l.take("A") {
		t.Error("two at a time")
	}
	if err := l.hold(short, "A", func() error { return nil }); err == nil || !strings.Contains(err.Error(), "wait until the line rests") {
		t.Errorf("%v", err)
	}
	if err := l.hold(ctx, "B", func() error {
		if l.hold(short, "B", func() error { return nil }) == nil {
			t.Error("counted twice at a time")
		}
		l.rest()
		if l.take("B") || !l.take("A") {
			t.Error("a held order is made, or another one is not")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// A line that rests soon is waited for.
	time.AfterFunc(50*time.Millisecond, l.rest)
	if err := l.hold(ctx, "A", func() error { return nil }); err != nil {
		t.Errorf("while the line comes to rest: %v", err)
	}
	if !l.take("B") {
		t.Error("an order is held for good")
	}
}

func TestLineConfig(t *testing.T) {
	key := station.Fingerprint{1}.String()
	for _, c := range []struct {
		stations map[string]string
		want     string
	}{
		{map[string]string{"st-a": "MD5:1"}, "line: station st-a: fingerprint"},
		{map[string]string{"st/a": key}, "has neither a slash nor a space"},
		{map[string]string{"st-a": key, "st-b": key}, "have one key; each makes its own"},
	} {
		if _, err := (site.LineConfig{Stations: c.stations}).Known(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.stations, err, c.want)
		}
	}
}

func TestSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, cause := 0, errors.New("no")
		may := seldom(time.Second, func(context.Context) error {
			if asked++; asked > 1 {
				return cause
			}
			return nil
		})
		for range 3 {
			if err := may(t.Context()); err != nil || asked != 1 {
				t.Errorf("%v after %d", err, asked)
			}
		}
		time.Sleep(time.Second)
		if err := may(t.Context()); err != cause || asked != 2 {
			t.Errorf("%v after %d", err, asked)
		}
	})
}
