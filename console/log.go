package console

import "time"

// logPage is the audit log, filtered.
type logPage struct {
	Form       Form
	Kinds      []Option
	Entries    []LogLine
	Pager      Pager
	Checkpoint Checkpoint
	Witnesses  []Witness
	Export     string // address of this list as JSON lines
}

func (logPage) page() string { return "log" }

// A LogLine is one entry.
type LogLine struct {
	Index   int64
	At      time.Time
	Actor   string
	Kind    string
	Subject string
	Note    string
	State   string // done or refused
	Hash    string // first bytes, hexadecimal
}

// A Checkpoint is the signed state of the log.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   string // hexadecimal
	At     time.Time
	Signed string // algorithms
	Note   string // the signed text itself
	Href   string
}

// A Witness is somebody who agreed with the log up to a size.
type Witness struct {
	Name  string
	Size  int64
	Seen  time.Time
	State string // consistent or stale
}

// entryPage is one entry with its proof.
type entryPage struct {
	Entry      LogLine
	Leaf       string // canonical bytes
	LeafHash   string
	Path       []string // hashes from the leaf to the root
	Checkpoint Checkpoint
	Proof      string // address of the proof file
	Act        *ActLine
	Older      string
	Newer      string
}

func (entryPage) page() string { return "entry" }

// searchPage is what one search found, by kind of thing.
type searchPage struct {
	Query string
	Found []FoundGroup
	Total int
	// Masked says that identities were left out because the reader may not see
	// them.
	Masked bool
}

func (searchPage) page() string { return "search" }

// A FoundGroup is what was found of one noun.
type FoundGroup struct {
	Noun string // key of nav.*
	All  []Found
}

// Found is one thing.
type Found struct {
	Title string
	Note  Text
	State string
	Href  string
}

// glassPage is break-glass access: to open it, or what is done while it is
// open.
type glassPage struct {
	Open    *OpenGlass
	Form    Form // to ask for it
	Longest time.Duration
	Told    []Who
	Done    []LogLine // what was done with it
	Past    []GlassUse
	Close   *Form
	Review  *Text // what must be reviewed before the next use; nil if nothing
}

func (glassPage) page() string { return "glass" }

// A GlassUse is one time that glass was broken.
type GlassUse struct {
	Opened, Closed time.Time
	By             Who
	Why            string
	Reviewed       time.Time
	Href           string
}
