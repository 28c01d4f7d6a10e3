package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// static is the stylesheet, the icons and the scripts. Their address holds a
// digest over all of them, so that a browser may keep them for ever, and a
// script finds its neighbours under the same address.
type static struct {
	digest string // first 16 hex digits of SHA-256
	files  map[string][]byte
}

func newStatic() (*static, error) {
	s := &static{files: map[string][]byte{}}
	names, err := fs.Glob(staticFiles, "static/*")
	if err != nil {
		return nil, err
	}
	all := sha256.New()
	for _, name := range names {
		if types[path.Ext(name)] == "" {
			return nil, fmt.Errorf("console: %s has no media type", name)
		}
		b, err := staticFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		one := sha256.Sum256(b)
		all.Write([]byte(name + "\x00"))
		all.Write(one[:])
		s.files[path.Base(name)] = b
	}
	s.digest = hex.EncodeToString(all.Sum(nil))[:16]
	return s, nil
}

// address is where a file is served.
func (s *static) address(name string) string { return "/static/" + s.digest + "/" + name }

// types are the media types that we serve; the host's own table is not asked.
var types = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// serveStatic answers /static/DIGEST/NAME. An old digest is not found: the page that
// names it is from before an upgrade.
func (c *Console) serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, ok := c.files.files[name]
	if !ok || r.PathValue("digest") != c.files.digest {
		c.fail(w, r, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(b)
}
