// Package console is the web console of a site. A server renders its pages, so
// that they need no build step, no outside asset and, where nothing is signed,
// no script. A page is a view (a struct of plain values, in the file of its
// name) and a template (pages/NAME.html); a handler fills the view and calls
// render. Every word that a person reads stands in catalogue.yaml, in English
// and Hindi.
package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// Config is what a console needs to know.
type Config struct {
	// Now is the site's clock.
	Now func() time.Time
	// Log gets what went wrong, under the reference that the person sees.
	Log *slog.Logger
	// Frame says what stands around the page that answers r. The zero Frame is
	// right for somebody who has not signed in.
	Frame func(r *http.Request) Frame
}

// A Console renders pages.
type Console struct {
	cfg   Config
	files *static
	sets  map[string]map[string]*template.Template // by language, then by page
}

// New parses all templates, once.
func New(cfg Config) (*Console, error) {
	if cfg.Now == nil || cfg.Log == nil || cfg.Frame == nil {
		return nil, errors.New("console: it needs a clock, a log and a frame")
	}
	words, err := readCatalogue(catalogueFile)
	if err != nil {
		return nil, err
	}
	files, err := newStatic()
	if err != nil {
		return nil, err
	}
	c := &Console{cfg: cfg, files: files, sets: map[string]map[string]*template.Template{}}
	for _, lang := range languages {
		if c.sets[lang], err = parseSet(&tongue{lang: lang, words: words, now: cfg.Now, files: files}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// shared are the templates that every page has at hand.
var shared = []string{"pages/layout.html", "pages/components.html"}

// parseSet makes one set for each page: the shared templates and its own.
func parseSet(in *tongue) (map[string]*template.Template, error) {
	base, err := template.New("layout").Funcs(in.funcs()).ParseFS(pageFiles, shared...)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	set := map[string]*template.Template{}
	for _, name := range names {
		if name == shared[0] || name == shared[1] {
			continue
		}
		t, err := template.Must(base.Clone()).ParseFS(pageFiles, name)
		if err != nil {
			return nil, err
		}
		set[strings.TrimSuffix(path.Base(name), ".html")] = t
	}
	return set, nil
}

// A view is what one page shows. page is the name of its template.
type view interface{ page() string }

// sheet is what the layout sees: the frame, and the view as its page sees it.
type sheet struct {
	Frame
	Lang  string
	Other string // address of this page in the other language
	Now   time.Time
	View  view
}

// render answers r with a page. It writes nothing before the page is whole; a
// page that cannot be rendered becomes the error page.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	b, err := c.page(r, v)
	if err != nil {
		c.incident(w, r, fmt.Errorf("page %s: %w", v.page(), err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", c.lang(r))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}

func (c *Console) page(r *http.Request, v view) ([]byte, error) {
	lang := c.lang(r)
	t := c.sets[lang][v.page()]
	if t == nil {
		return nil, errors.New("no such template")
	}
	var b bytes.Buffer
	err := t.ExecuteTemplate(&b, "layout", sheet{
		Frame: c.cfg.Frame(r), Lang: lang, Other: otherLanguage(r, lang), Now: c.cfg.Now(), View: v,
	})
	return b.Bytes(), err
}
