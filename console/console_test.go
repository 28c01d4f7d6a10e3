package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"unicode"

	"golang.org/x/net/html"

	"ankan/access"
)

// dotted is how a key of the catalogue looks. In a template every literal that
// looks so is a key.
var dotted = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$`)

// families are the prefixes of keys that are put together: from roles, states
// and kinds that views hold.
var families = []string{"passkey-error.", "kin.", "part.", "role.", "kind.", "state.", "nav.", "site.", "proved.", "method.", "error.", "mode.", "item.", "purpose.", "origin.", "happened.", "copy.", "do.", "may.", "employment.", "outcome.", "result.", "policy.nodal.", "period.", "limit.", "reason.", "check.", "did.", "account.", "asks.", "condition.", "restore-step."}

// trees are the parse trees of all templates of the console.
func trees(t *testing.T) map[string]*parse.Tree {
	t.Helper()
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil || len(names) < 3 {
		t.Fatalf("%d templates: %v", len(names), err)
	}
	all := map[string]*parse.Tree{}
	for _, name := range names {
		b, err := pageFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p := parse.New(name)
		p.Mode = parse.SkipFuncCheck
		set := map[string]*parse.Tree{}
		if _, err := p.Parse(string(b), "{{", "}}", set); err != nil {
			t.Fatal(err)
		}
		for define, tree := range set {
			all[name+" "+define] = tree
		}
	}
	return all
}

// walk calls f for each node below n, in order.
func walk(n parse.Node, f func(parse.Node)) {
	if n == nil {
		return
	}
	f(n)
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe, f)
		walk(b.List, f)
		if b.ElseList != nil {
			walk(b.ElseList, f)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, one := range n.Nodes {
				walk(one, f)
			}
		}
	case *parse.ActionNode:
		walk(n.Pipe, f)
	case *parse.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				walk(c, f)
			}
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			walk(a, f)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.TemplateNode:
		walk(n.Pipe, f)
	}
}

// keysOf are the catalogue's keys that a template names: the first argument of
// t, and every literal with dots in it.
func keysOf(tree *parse.Tree) []string {
	var keys []string
	walk(tree.Root, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.CommandNode:
			if len(n.Args) > 1 && n.Args[0].String() == "t" {
				if s, ok := n.Args[1].(*parse.StringNode); ok {
					keys = append(keys, s.Text)
				}
			}
		case *parse.TemplateNode:
			if n.Name == "th" {
				walk(n.Pipe, func(n parse.Node) {
					if s, ok := n.(*parse.StringNode); ok {
						keys = append(keys, s.Text)
					}
				})
			}
		case *parse.StringNode:
			s := strings.TrimPrefix(n.Text, "hint=")
			if dotted.MatchString(s) && filepath.Ext(s) != ".css" && filepath.Ext(s) != ".js" && filepath.Ext(s) != ".svg" {
				keys = append(keys, s)
			}
		}
	})
	return keys
}

func words(t *testing.T) catalogue {
	t.Helper()
	c, err := readCatalogue(catalogueFile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every key that a template or a program line names is in the catalogue, and
// nothing in the catalogue is without use.
func TestCatalogueIsComplete(t *testing.T) {
	c := words(t)
	used := map[string]bool{}
	for name, tree := range trees(t) {
		walk(tree.Root, func(n parse.Node) {
			if s, ok := n.(*parse.StringNode); ok {
				used[s.Text] = true
			}
		})
		for _, key := range keysOf(tree) {
			used[key] = true
			if _, ok := c[key]; !ok {
				t.Errorf("%s: no key %q in the catalogue", name, key)
			}
		}
	}
	for _, name := range sources(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") || name == "fixtures_test.go" }) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr: // say("key", ...)
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "say" {
					if lit, ok := n.Args[0].(*ast.BasicLit); ok {
						key, _ := strconv.Unquote(lit.Value)
						if _, ok := c[key]; !ok {
							t.Errorf("%s: no key %q in the catalogue", name, key)
						}
					}
				}
			case *ast.BasicLit:
				if key, err := strconv.Unquote(n.Value); err == nil && c[key] != (message{}) {
					used[key] = true
				}
			}
			return true
		})
	}
	for state := range tones {
		if _, ok := c["state."+state]; !ok {
			t.Errorf("no words for the state %q", state)
		}
	}
	for _, noun := range nouns {
		for _, key := range []string{"nav." + noun.key, "nav." + noun.group} {
			if _, ok := c[key]; !ok {
				t.Errorf("no words for %s", key)
			}
		}
	}
	p := access.DefaultPolicy()
	for _, role := range p.Roles {
		if _, ok := c["role."+role]; !ok {
			t.Errorf("no words for the role %q of the default policy", role)
		}
	}
	for kind := range p.Acts {
		if _, ok := c["kind."+kind]; !ok {
			t.Errorf("no words for the act %q of the default policy", kind)
		}
	}
	for key := range c {
		if !used[key] && !slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(key, f) }) {
			t.Errorf("nothing says %q", key)
		}
	}
}

// No template is left that nothing shows.
func TestTemplatesAreUsed(t *testing.T) {
	used := map[string]bool{"layout": true}
	all := trees(t)
	for _, tree := range all {
		walk(tree.Root, func(n parse.Node) {
			if n, ok := n.(*parse.TemplateNode); ok {
				used[n.Name] = true
			}
		})
	}
	for name, tree := range all {
		if !used[tree.Name] && !strings.HasSuffix(tree.Name, ".html") {
			t.Errorf("nothing shows %s", name)
		}
	}
}

func sources(t *testing.T, want func(string) bool) []string {
	t.Helper()
	dir, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range dir {
		if filepath.Ext(f.Name()) == ".go" && want(f.Name()) {
			all = append(all, f.Name())
		}
	}
	return all
}

func TestCatalogueRefuses(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{`a: {en: "x"}`, `a has no text in "hi"`},
		{`a: {hi: "x"}`, `a has no text in "en"`},
		{`a: {en: "{0}", hi: "x"}`, `a takes arguments [0] in English and [] in Hindi`},
		{`a: {en: "{0|x|y} {1}", hi: "{0} {2}"}`, `a takes arguments [0 1] in English and [0 2] in Hindi`},
		{`a: {en: "{0|x}", hi: "{0}"}`, `a in "en" has a brace`},
		{`a: {en: "x", hi: "}"}`, `a in "hi" has a brace`},
		{`a: {en: "x", hi: "x", fr: "x"}`, "fr"},
		{"a: {en: x, hi: x}\na: {en: y, hi: y}", "a"},
		{``, "empty"},
	} {
		if _, err := readCatalogue([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.doc, err, c.want)
		}
	}
}

// spoken are the attributes that a person sees or hears.
var spoken = []string{"aria-label", "placeholder", "title", "alt", "aria-description"}

// allowed stands in templates outside the catalogue: names that no language
// translates, and each language's own name.
var allowed = strings.Fields("6.4.e.iii.c SOP YAML CSV JSON Ankan अंकन IST UTC SHA-256 English हिन्दी KCV")

// What a person reads stands in the catalogue, not in templates.
func TestNoWordsOutsideTheCatalogue(t *testing.T) {
	for name, tree := range trees(t) {
		var b strings.Builder
		walk(tree.Root, func(n parse.Node) {
			switch n := n.(type) {
			case *parse.TextNode:
				b.Write(n.Text)
			case *parse.ActionNode, *parse.TemplateNode:
				b.WriteByte(0)
			}
		})
		check := func(what, s string) {
			for _, w := range strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == 0 }) {
				if strings.ContainsFunc(w, unicode.IsLetter) && !slices.Contains(allowed, strings.Trim(w, ".,:()“”·")) {
					t.Errorf("%s: %s holds the word %q", name, what, w)
				}
			}
		}
		// A script-less part is text to the tokenizer; a template of attributes
		// is text without a tag around it.
		page := strings.ReplaceAll(b.String(), "noscript>", "div>")
		if strings.HasSuffix(name, " signing") || strings.HasSuffix(name, " field-marks") {
			page = "<i" + page + ">"
		}
		z := html.NewTokenizer(strings.NewReader(page))
		for z.Next() != html.ErrorToken {
			tok := z.Token()
			if tok.Type == html.TextToken {
				check("the text", tok.Data)
			}
			for _, a := range tok.Attr {
				if slices.Contains(spoken, a.Key) {
					check(a.Key, a.Val)
				}
			}
		}
	}
}
