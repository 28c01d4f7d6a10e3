// Package release is the register of operating system releases: where each
// comes from and who made it (SOP 5.i), which customer's profile it was
// integrated with, what a security test by other people found (SOP 6.2), who
// approved it, and which batches it was loaded with (SOP 5.ii). A line loads
// nothing else. The register forgets nothing.
package release

import (
	"context"
	"crypto/ed25519"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"ankan/access"
	"ankan/act"
	"ankan/simos"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("release", migrations) }

// Errors that callers branch on.
var (
	// ErrNone is wrapped where the register has no such release or integration.
	ErrNone = errors.New("no such release")
	// ErrNotApproved is wrapped where a chip may not get an operating system.
	ErrNotApproved = errors.New("not approved (SOP 5.ii, 6.2)")
)

// A State is how far a release has come in one customer's profile.
type State string

// The states. Registered is a release that was integrated with no profile.
const (
	Registered State = "registered"
	Integrated State = "integrated"
	Tested     State = "tested" // the test is closed; its verdict may be a fail
	Approved   State = "approved"
	Withdrawn  State = "withdrawn"
)

// A Release is one operating system, as its vendor ships it.
type Release struct {
	Vendor      string      `json:"vendor"`
	Country     string      `json:"country"`     // ISO 3166, where it was developed
	Environment string      `json:"environment"` // the protected environment of its development (SOP 5.i)
	Process     string      `json:"process"`     // reference of the security process that it follows
	Developers  []Developer `json:"developers"`
	Chips       []string    `json:"chips"`    // what it runs on, as lots name them
	Image       []byte      `json:"image"`    // simos.Image, signed by the vendor
	OSMaker     []byte      `json:"os_maker"` // the vendor's Ed25519 public key

	// What the image says of itself.
	Name       string    `json:"name"` // "ankan-reference 1.0"
	SHA256     string    `json:"image_sha256"`
	Algorithms []string  `json:"algorithms"`
	At         time.Time `json:"at,omitzero"` // of its registration
	Act        string    `json:"act,omitempty"`
}

// A Developer made a release: somebody of the site's register, or of the vendor.
type Developer struct {
	Person string `json:"person,omitempty"` // number in the site's register
	Name   string `json:"name,omitempty"`   // of somebody of the vendor
}

func (d Developer) String() string {
	if d.Person != "" {
		return "person " + d.Person
	}
	return d.Name
}

// country is an ISO 3166-1 alpha-2 code by its shape.
var country = regexp.MustCompile(`^[A-Z]{2}$`)

// Bounds of lists.
const (
	maxDevelopers = 100
	maxChips      = 50
)

// open reads the image and checks the whole. What the image says of itself is
// filled in, whatever was there.
func (r *Release) open() error {
	for _, f := range [][2]string{{"vendor", r.Vendor}, {"environment", r.Environment}, {"process", r.Process}} {
		if err := checkText(f[0], f[1], 500); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	if !country.MatchString(r.Country) {
		return fmt.Errorf("release: country is %.20q, want two letters of ISO 3166, such as IN", r.Country)
	}
	if len(r.OSMaker) != ed25519.PublicKeySize {
		return fmt.Errorf("release: os_maker has %d bytes, want the vendor's Ed25519 public key, 32", len(r.OSMaker))
	}
	image, err := simos.OpenImage(r.Image, r.OSMaker)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	r.Name, r.SHA256, r.Algorithms = image.Name+" "+image.Version, hex.EncodeToString(digest[:]), image.Algorithms
	if err := checkName("release", r.Name); err != nil {
		return err
	}
	if n := len(r.Chips); n == 0 || n > maxChips {
		return fmt.Errorf("release %s: it names %d chips, want 1 to %d", r.Name, n, maxChips)
	}
	for i, c := range r.Chips {
		if err := checkText("chip", c, 100); err != nil {
			return fmt.Errorf("release %s: %w", r.Name, err)
		}
		if slices.Contains(r.Chips[:i], c) {
			return fmt.Errorf("release %s: chip %q is there twice", r.Name, c)
		}
	}
	if n := len(r.Developers); n == 0 || n > maxDevelopers {
		return fmt.Errorf("release %s: it names %d developers, want 1 to %d: nobody could be told from those who test it (SOP 6.2)", r.Name, n, maxDevelopers)
	}
	for i, d := range r.Developers {
		if (d.Person == "") == (d.Name == "") {
			return fmt.Errorf("release %s: developer %d needs a person's number or a name, one of the two", r.Name, i+1)
		}
		if d.Person != "" {
			err = access.CheckNumber(d.Person)
		} else {
			err = checkText("developer", d.Name, 100)
		}
		if err != nil {
			return fmt.Errorf("release %s: %w", r.Name, err)
		}
		if slices.Contains(r.Developers[:i], d) {
			return fmt.Errorf("release %s: %s is there twice", r.Name, d)
		}
	}
	return nil
}

// checkText refuses what is not some printable characters.
func checkText(what, s string, most int) error {
	if s == "" || len(s) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s is %.40q, want 1 to %d printable bytes, no space at the ends", what, s, most)
	}
	return nil
}

// checkName refuses what cannot stand in the subject of an act.
func checkName(what, s string) error {
	if err := checkText(what, s, 80); err != nil {
		return err
	}
	if strings.Contains(s, "/") || s == anything {
		return fmt.Errorf("%s is %q, want a name without / that is not %s", what, s, anything)
	}
	return nil
}

// developed says whether somebody is one of the developers, by number or name.
func (r Release) developed(p act.Person) bool {
	return slices.ContainsFunc(r.Developers, func(d Developer) bool {
		return d.Person == p.ID || d.Name != "" && strings.EqualFold(d.Name, p.Name)
	})
}

// developers are those who are in the site's register, by number.
func (r Release) developers() []string {
	var all []string
	for _, d := range r.Developers {
		if d.Person != "" {
			all = append(all, d.Person)
		}
	}
	return all
}

func (r Release) developerText() string {
	var all []string
	for _, d := range r.Developers {
		all = append(all, d.String())
	}
	return strings.Join(all, ", ")
}

// developersHere are the numbers of all developers who are in the site's
// register: those whom the release names by number, and those whom the vendor
// named and who are here under that name.
func (r Release) developersHere(ctx context.Context, people access.View) ([]string, error) {
	all, err := people.Members(ctx)
	if err != nil {
		return nil, err
	}
	here := r.developers()
	for _, m := range all {
		if r.developed(m.Person) {
			here = append(here, m.ID)
		}
	}
	return here, nil
}

// notADeveloper refuses a part in the test or the approval to those who made it.
func (r Release) notADeveloper(p act.Person, does string) error {
	if r.developed(p) {
		return fmt.Errorf("release %s: %w: person %s, %s, developed it and cannot %s it: the security testing team is another than the development team (SOP 6.2)", r.Name, act.ErrNotAllowed, p.ID, p.Name, does)
	}
	return nil
}

// An Integration is a release in one customer's profile (SOP 5.i).
type Integration struct {
	Number   int       `json:"number"`
	Release  string    `json:"release"`
	Operator string    `json:"operator"`
	Profile  string    `json:"profile"`
	SHA256   string    `json:"profile_sha256"` // profile.Digest
	Site     string    `json:"site"`
	Country  string    `json:"country"` // of the site
	Place    string    `json:"place"`   // room or laboratory
	People   []string  `json:"people"`  // who integrated, by number
	State    State     `json:"state"`
	At       time.Time `json:"at,omitzero"`
	Act      string    `json:"act,omitempty"` // by which it is in this state
}

// Ref names it in acts: release/NAME/OPERATOR/PROFILE.
func (i Integration) Ref() string { return "release/" + i.Release + "/" + i.Operator + "/" + i.Profile }

// anything stands for every operator or profile where an approval is withdrawn.
const anything = "*"

// A subject is what an act names.
type subject struct{ release, operator, profile, reason string }

// parseSubject reads release/NAME with more parts: 2 operator and profile, 3
// also a reason.
func parseSubject(s string, more int) (x subject, err error) {
	part := strings.SplitN(s, "/", 2+more)
	wrong := fmt.Errorf("subject %.200q is not %s", s, []string{"release/NAME", "", "release/NAME/OPERATOR/PROFILE", "release/NAME/OPERATOR/PROFILE/REASON"}[more])
	if len(part) != 2+more || part[0] != "release" || slices.Contains(part, "") {
		return x, wrong
	}
	x.release = part[1]
	if more >= 2 {
		x.operator, x.profile = part[2], part[3]
	}
	if more == 3 {
		x.reason = part[4]
		return x, checkText("reason", x.reason, 500)
	}
	if strings.Contains(part[1+more], "/") {
		return x, wrong
	}
	return x, nil
}
