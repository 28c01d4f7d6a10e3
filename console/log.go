package console

import "time"

// logPage is the audit log, filtered.
type logPage struct {
	Form    Form
	Kinds   []Option
	Entries []LogLine
	// Looked is how many entries were looked through for these. Rest is where the
	// search goes on if it gave up before the log's end.
	Looked       int64
	Rest         string
	Newer, Older string // addresses; "" at the ends
	Checkpoint   Checkpoint
	JSON, CSV    string // addresses of this list as a file
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
	Signed string // by which key
	Note   string // the signed text itself
	Href   string
}

// entryPage is one entry with its proof.
type entryPage struct {
	Entry      LogLine
	Leaf       string // canonical bytes
	LeafHash   string
	Path       []string // hashes from the leaf to the root
	Checkpoint Checkpoint
	Proof      string // address of the proof file
	Key        string // of the log, as ankan-verify takes it
	Fields     []Field
	Links      []Touch // what the entry names and the reader may open
	Act        *ActLine
	Older      string
	Newer      string
}

func (entryPage) page() string { return "entry" }

// A Field is one value of an entry's data.
type Field struct{ Path, Value string }

// searchPage is what one search found, by kind of thing.
type searchPage struct {
	Query string
	Found []FoundGroup
	Total int
	Short bool // the query is too short
	// Identity says that it looks like the number of a card or subscriber, which
	// is not searched here.
	Identity bool
	More     bool // there is more of something than is shown
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
	State string // "" if it has none that pages name
	Href  string // "" if it has no page
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
