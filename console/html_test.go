package console

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

// text is what a node says, hidden text included.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// faults are what is wrong with a page, as one rule each.
func faults(page string) []string {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	var bad []string
	fault := func(what ...string) { bad = append(bad, strings.Join(what, " ")) }
	ids, labelled := map[string]bool{}, map[string]bool{}
	var h1, main, level int
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				fault("the id", id, "is there twice")
			}
			ids[id] = true
		}
		if n.Data == "label" {
			labelled[attr(n, "for")] = true
		}
	}
	inLabel := func(n *html.Node) bool {
		for p := range n.Ancestors() {
			if p.Data == "label" {
				return true
			}
		}
		return false
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style":
				fault(n.Data, "has the attribute", a.Key)
			case a.Key == "aria-labelledby" || a.Key == "aria-describedby" || a.Key == "form" && n.Data == "button":
				for _, id := range strings.Fields(a.Val) {
					if !ids[id] {
						fault(a.Key, "of", n.Data, "names", id, "which is not there")
					}
				}
			case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
				if !ids[a.Val[1:]] {
					fault("a link goes to", a.Val, "which is not there")
				}
			case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/"):
				fault(a.Key, "of", n.Data, "is", a.Val, "which is not a path of ours")
			}
		}
		switch n.Data {
		case "h1", "h2", "h3", "h4":
			if text(n) == "" {
				fault("an empty", n.Data)
			}
			l := int(n.Data[1] - '0')
			if l > level+1 && level > 0 {
				fault(n.Data, text(n), "follows a heading of level", string(rune('0'+level)))
			}
			level = l
			if l == 1 {
				h1++
			}
		case "main":
			main++
		case "script":
			if n.FirstChild != nil || attr(n, "src") == "" {
				fault("a script in the page")
			}
		case "style", "iframe", "object", "embed", "base":
			fault("a", n.Data)
		case "input", "select", "textarea":
			if t := attr(n, "type"); t == "hidden" || t == "submit" {
				continue
			}
			if !labelled[attr(n, "id")] && !inLabel(n) {
				fault("the field", attr(n, "name"), "has no label")
			}
			if attr(n, "name") == "person" && n.Data == "input" && (attr(n, "maxlength") != "32" || has(n, "inputmode")) {
				fault("the field person does not take every number that access.CheckNumber does")
			}
		case "button", "a":
			if text(n) == "" && attr(n, "aria-label") == "" {
				fault("a", n.Data, "without a name")
			}
		case "form":
			if m := attr(n, "method"); m != "get" && m != "post" && attr(n, "role") != "search" {
				fault("a form without its method")
			}
			if !has(n, "action") {
				fault("a form without its address")
			}
		case "th":
			if attr(n, "scope") == "" {
				fault("a th without scope:", text(n))
			}
		case "svg":
			if attr(n, "aria-hidden") != "true" && attr(n, "aria-label") == "" {
				fault("a picture without a name")
			}
		case "nav", "aside":
			if attr(n, "aria-label") == "" && attr(n, "aria-labelledby") == "" {
				fault("a", n.Data, "without a name")
			}
		case "ul", "ol":
			if has(n, "data-dots") {
				continue
			}
			for c := range n.ChildNodes() {
				if c.Type == html.ElementNode && c.Data != "li" {
					fault(n.Data, "holds", c.Data)
				}
			}
		}
	}
	if h1 != 1 {
		fault("not one h1 but", string(rune('0'+h1)))
	}
	if main != 1 {
		fault("not one main")
	}
	return bad
}

// Every page, in both languages, keeps the rules that need no browser to check.
func TestPagesAreSound(t *testing.T) {
	h := Preview(t)
	for _, s := range shots() {
		for _, lang := range languages {
			for _, f := range faults(get(h, "/preview/"+s.name, lang).Body.String()) {
				t.Errorf("%s in %s: %s", s.name, lang, f)
			}
		}
	}
}

// The rules find what they are there for.
func TestFaults(t *testing.T) {
	good := `<html lang="en"><title>x</title><main><h1>A</h1>`
	for _, c := range []struct{ page, want string }{
		{good + `<p style="x">`, "style"},
		{good + `<p onclick="x">`, "onclick"},
		{good + `<script>x</script>`, "a script in the page"},
		{good + `<style>x</style>`, "a style"},
		{good + `<h3>B</h3>`, "follows a heading"},
		{good + `<h1>B</h1>`, "not one h1"},
		{good + `<h2> </h2>`, "an empty h2"},
		{good + `<input name="x">`, "has no label"},
		{good + `<p aria-describedby="x">`, "names x"},
		{good + `<a href="#x">y</a>`, "#x"},
		{good + `<a href="https://example.com">y</a>`, "not a path of ours"},
		{good + `<a href="/x"></a>`, "without a name"},
		{good + `<form action="/x">`, "without its method"},
		{good + `<form method="post">`, "without its address"},
		{good + `<table><tr><th>x</th></tr></table>`, "without scope"},
		{good + `<svg></svg>`, "a picture"},
		{good + `<nav></nav>`, "a nav"},
		{good + `<ul><p>x</p></ul>`, "ul holds p"},
		{good + `<p id="a"><p id="a">`, "twice"},
		{`<h1>A</h1>`, "not one main"},
	} {
		if found := strings.Join(faults(c.page), "; "); !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q", c.page, found, c.want)
		}
	}
	if found := faults(good); found != nil {
		t.Errorf("a good page has %q", found)
	}
}

// What people typed stays text.
func TestNamesAreEscaped(t *testing.T) {
	h := Preview(t)
	for _, name := range []string{"people", "person-empty", "person-form", "search-empty"} {
		page := get(h, "/preview/"+name, "en").Body.String()
		if strings.Contains(page, "<script>") || strings.Contains(page, "<b>Kiran") {
			t.Errorf("%s: a name became markup", name)
		}
		if !strings.Contains(page, "&lt;") {
			t.Errorf("%s: the name is not there", name)
		}
	}
}
