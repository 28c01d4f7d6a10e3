package console

import (
	"bytes"
	"html/template"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ankan/hsm"
	"ankan/passkey"
)

func tongueOf(t testing.TB, lang string) *tongue {
	t.Helper()
	c, err := readCatalogue(catalogueFile)
	if err != nil {
		t.Fatal(err)
	}
	files, err := newStatic()
	if err != nil {
		t.Fatal(err)
	}
	return &tongue{lang: lang, words: c, now: func() time.Time { return noon }, files: files}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		n      any
		en, hi string
	}{
		{0, "0", "0"}, {999, "999", "999"}, {1000, "1,000", "1,000"}, {100000, "100,000", "1,00,000"}, {int64(250000), "250,000", "2,50,000"},
		{12345678, "12,345,678", "1,23,45,678"}, {-1234567, "-1,234,567", "-12,34,567"}, {uint64(1204883), "1,204,883", "12,04,883"},
	} {
		if en, hi := tongueOf(t, "en").number(c.n), tongueOf(t, "hi").number(c.n); en != c.en || hi != c.hi {
			t.Errorf("%v is %s and %s, want %s and %s", c.n, en, hi, c.en, c.hi)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		t      time.Time
		en, hi string
	}{
		{noon, "14:32 IST <span>09:02 UTC</span>", "14:32 IST <span>09:02 UTC</span>"},
		{noon.Add(24 * time.Hour), "20 Nov 14:32 IST <span>09:02 UTC</span>", "20 नव॰ 14:32 IST <span>09:02 UTC</span>"},
		// In the Indian morning UTC has another date, which is said.
		{time.Date(2026, 11, 19, 20, 0, 0, 0, time.UTC), "20 Nov 01:30 IST <span>19 Nov 20:00 UTC</span>", "20 नव॰ 01:30 IST <span>19 नव॰ 20:00 UTC</span>"},
		{time.Date(2026, 11, 18, 19, 0, 0, 0, time.UTC), "00:30 IST <span>18 Nov 19:00 UTC</span>", "00:30 IST <span>18 नव॰ 19:00 UTC</span>"},
		{time.Date(2027, 2, 2, 0, 0, 0, 0, time.UTC), "2 Feb 2027 05:30 IST <span>00:00 UTC</span>", "2 फ़र॰ 2027 05:30 IST <span>00:00 UTC</span>"},
	} {
		for lang, want := range map[string]string{"en": c.en, "hi": c.hi} {
			want = `<time class="when" datetime="` + c.t.Format(time.RFC3339) + `">` + want + `</time>`
			if got := tongueOf(t, lang).when(c.t); string(got) != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	if got := tongueOf(t, "en").when(time.Time{}); got != `<span class="faint">not yet</span>` {
		t.Errorf("no time is %s", got)
	}
	if got := tongueOf(t, "en").day(time.Date(2025, 1, 5, 0, 0, 0, 0, time.UTC)); got != `<time datetime="2025-01-05">5 Jan 2025</time>` {
		t.Errorf("a day is %s", got)
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 45 * time.Second: "45 s", 8*time.Minute + 20*time.Second: "8 min 20 s", 38*time.Minute + 50*time.Second: "38 min", 15 * time.Minute: "15 min",
		21*time.Hour + 14*time.Minute: "21 h 14 min", 24 * time.Hour: "1 d", 122 * time.Hour: "5 d 2 h", -time.Hour: "0 s", 9 * time.Minute: "9 min",
	} {
		if got := tongueOf(t, "en").duration(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
	if got := tongueOf(t, "hi").duration(122 * time.Hour); got != "5 दिन 2 घं" {
		t.Errorf("in Hindi: %s", got)
	}
}

func TestText(t *testing.T) {
	en, hi := tongueOf(t, "en"), tongueOf(t, "hi")
	for _, c := range []struct {
		in   *tongue
		t    Text
		want template.HTML
	}{
		{en, say("leaver.ends.sessions", 1), "1 open session"},
		{en, say("leaver.ends.sessions", 0), "0 open sessions"},
		{en, say("leaver.ends.sessions", 2500), "2,500 open sessions"},
		{hi, say("leaver.ends.sessions", 0), "0 खुला सत्र"},
		{hi, say("leaver.ends.sessions", 2), "2 खुले सत्र"},
		{en, say("glass.open.by", "<b>", `"x"`), "&lt;b&gt;: “&#34;x&#34;”."},
		{en, plain("<i>"), "&lt;i&gt;"},
		{en, say("until", 90*time.Second), "until 1 min 30 s"},
		{en, say("until", noon), `until <time class="when" datetime="2026-11-19T09:02:08Z">14:32 IST <span>09:02 UTC</span></time>`},
		{en, say("until", say("who.nobody")), "until nobody"},
	} {
		if got, err := c.in.say(c.t); err != nil || got != c.want {
			t.Errorf("%v: %q %v, want %q", c.t, got, err, c.want)
		}
	}
	for _, bad := range []Text{say("no.such.key"), say("until"), say("until", say("no.such.key"))} {
		if got, err := en.say(bad); err == nil {
			t.Errorf("%v became %q", bad, got)
		}
	}
}

func TestStatesAreKnown(t *testing.T) {
	if _, err := tongueOf(t, "en").badge("no such state"); err == nil {
		t.Error("a badge of a state that does not exist")
	}
}

// The lines of an act are its canonical bytes, whatever people write in it.
func TestActLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := releaseAct()
		a.Subject = rapid.String().Draw(t, "subject")
		a.Params = rapid.MapOf(rapid.StringOf(rapid.RuneFrom([]rune(`ab":{},\ é`))), rapid.StringOf(rapid.RuneFrom([]rune(`ab":{},\ é`)))).Draw(t, "params")
		a.Subject = strings.Map(func(r rune) rune {
			if r < 0x20 || r > 0x7e { // what does not show is written out and differs
				return -1
			}
			return r
		}, a.Subject)
		var b bytes.Buffer
		lines := actLines(a)
		for _, l := range lines {
			if l.Hidden {
				t.Fatalf("nothing is hidden in %q", l.Value)
			}
			b.WriteString(l.Name + l.Value)
		}
		if !bytes.Equal(b.Bytes(), a.Canonical()) {
			t.Fatalf("the lines are\n%s, the act is\n%s", b.Bytes(), a.Canonical())
		}
		if want := 11 + len(a.Params) - 1 + 1; len(a.Params) > 0 && len(lines) != want {
			t.Fatalf("%d lines, want %d", len(lines), want)
		}
	})
}

// Characters that do not show, or that turn text around, are written out.
func TestHiddenCharacters(t *testing.T) {
	a := releaseAct()
	a.Params = map[string]string{"a\u200b": "x", "b": "1\u202e2"}
	var hidden []actLine
	for _, l := range actLines(a) {
		if l.Hidden {
			hidden = append(hidden, l)
		}
		if strings.ContainsAny(l.Name+l.Value, "\u200b\u202e") {
			t.Errorf("%+v holds it still", l)
		}
	}
	if len(hidden) != 2 || !strings.Contains(hidden[0].Name, "⟨U+200B⟩") || !strings.Contains(hidden[1].Value, "⟨U+202E⟩") {
		t.Errorf("hidden are %+v", hidden)
	}
}

func TestShown(t *testing.T) {
	if got := shown("a\n\u202eb\x00\n"); got != "a\n⟨U+202E⟩b⟨U+0000⟩\n" {
		t.Errorf("%q", got)
	}
}

func TestProvedBy(t *testing.T) {
	in := tongueOf(t, "en")
	seen := map[string]bool{}
	for _, m := range []passkey.Method{passkey.Biometric, passkey.BiometricOrPIN, passkey.PIN, passkey.UnknownMethod, passkey.Software} {
		h, err := in.text("proved." + provedBy(m))
		if err != nil || seen[string(h)] {
			t.Errorf("%s is %q: %v", m, h, err)
		}
		seen[string(h)] = true
	}
	if provedBy("") != provedBy(passkey.UnknownMethod) {
		t.Error("no method proves more than an unknown one")
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct{ ours, value, method, want string }{
		{"4F19A2 GP", "4f19a2 ", "GP", "key.compare.same"},
		{"4F19A2 GP", "4F 19 A3", "GP", "key.compare.other"},
		{"4F19A2 GP", "4F19A2", "CMAC", "key.compare.methods"}, // the same digits by another method say nothing
		{"4F19A2 GP", "4F19A2", "", "key.compare.method-unknown"},
		{"4F19A2 GP", "4F19A2", "ECB-ZEROS", "key.compare.methods"},
		{"91D0B73C04 CMAC", "91D0B7", "CMAC", "key.compare.same"},
		{"4F19A2 GP", "4F19", "GP", "key.compare.malformed"},
		{"4F19A2 GP", "<b>", "GP", "key.compare.malformed"},
		{"4F19A2 GP", "4F19A2", "MD5", "key.compare.malformed"},
	} {
		ours, err := hsm.ParseKCV(c.ours)
		if err != nil {
			t.Fatal(err)
		}
		if got := compare(ours, c.value, c.method); got.Key != c.want {
			t.Errorf("%+v: %s, want %s", c, got.Key, c.want)
		}
	}
	if got := compare(hsm.KCV{}, "4F19A2", "GP"); got.Key != "key.compare.methods" {
		t.Errorf("a key without a check value: %s", got.Key)
	}
}

func TestFieldsRefuse(t *testing.T) {
	for _, option := range []string{"nonsense", "max=many", "type"} {
		_, err := field(Form{}, "x", "find", option)
		if (err == nil) != (option == "type") {
			t.Errorf("%s: %v", option, err)
		}
	}
	in, err := field(Form{Values: map[string]string{"password": "typed"}}, "password", "signin.password", "type=password")
	if err != nil || in.Value != "" {
		t.Errorf("a password comes back: %q %v", in.Value, err)
	}
}

// Whatever is taken as a catalogue can be said: no message is accepted that
// fails in front of a person for another reason than its arguments.
func FuzzCatalogue(f *testing.F) {
	f.Add([]byte(`a: {en: "{0} {0|card|cards}", hi: "{0} {0|कार्ड|कार्ड}"}`))
	f.Add([]byte(`a.b: {en: "x", hi: "क"}`))
	f.Add([]byte(`a: {en: "{", hi: "}"}`))
	f.Add([]byte("a: {en: \"{0|a}\", hi: \"{9}\"}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := readCatalogue(doc)
		if err != nil {
			return
		}
		for key, m := range c {
			for _, lang := range languages {
				in := &tongue{lang: lang, words: c, now: func() time.Time { return noon }}
				if _, err := in.text(key, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9); err != nil {
					t.Errorf("%+v: %v", m, err)
				}
			}
		}
	})
}
