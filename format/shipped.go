package format

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed layouts/*.yaml
var documents embed.FS

// shipped compiles the layouts of the program once.
var shipped = sync.OnceValue(func() []*Layout {
	var all []*Layout
	for _, path := range must(fs.Glob(documents, "layouts/*.yaml")) {
		all = append(all, must(Parse(path, must(documents.ReadFile(path)))))
	}
	return all
})

// Shipped are the layouts that come with the program, by their names.
func Shipped() []*Layout { return slices.Clone(shipped()) }

// Document is the text of a layout that comes with the program.
func Document(name string) ([]byte, error) {
	if wrongToken(name, 40) == "" {
		if doc, err := documents.ReadFile("layouts/" + name + ".yaml"); err == nil {
			return doc, nil
		}
	}
	_, err := Set(nil).Find(name)
	return nil, err
}

//go:embed skeleton.yaml
var skeleton string

// Skeleton is a document to start a layout of that name from, with notes for people. It
// is good as it is.
func Skeleton(name string) ([]byte, error) {
	if wrong := wrongToken(name, 40); wrong != "" {
		return nil, fmt.Errorf("name of a layout %s", wrong)
	}
	return []byte(strings.Replace(skeleton, "layout: NAME", "layout: "+name, 1)), nil
}

// A Set is the layouts of a site beside the shipped ones.
type Set []*Layout

// Add adds a layout; a name is used once.
func (s Set) Add(l *Layout) (Set, error) {
	if _, err := s.Find(l.name); err == nil {
		return s, fmt.Errorf("layout %s is there already; give it another name", l.name)
	}
	return append(s, l), nil
}

// Find finds a layout by its name.
func (s Set) Find(name string) (*Layout, error) {
	var names []string
	for _, l := range append(Shipped(), s...) {
		if l.name == name {
			return l, nil
		}
		names = append(names, l.name)
	}
	return nil, fmt.Errorf("layout %q is unknown, want one of %s", name, strings.Join(names, ", "))
}
