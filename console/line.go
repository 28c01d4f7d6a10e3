package console

import (
	"fmt"
	"strings"
	"time"
)

// linePage is the plant's line: its batches and its stations.
type linePage struct {
	Batches  []BatchLine
	Stations []StationLine
}

func (linePage) page() string { return "line" }

// A BatchLine is one batch on the line.
type BatchLine struct {
	Order, Href, Bureau string
	State               string // of states
	Good, Cards         int    // cards 0: nothing of it is here
	Percent             int
	Since               time.Time
}

// A StationLine is a station as the plant last knew it.
type StationLine struct {
	Name    string
	State   string // present, away
	Readers int
	Version string
	Since   time.Time
}

// batchPage is a batch while its cards are made, and after.
type batchPage struct {
	Order, Bureau, OS, Profile string
	State                      string
	Waiting                    string // why the line does not go on
	Abandoned                  string // why its bureau gave it up
	Started, Finished          time.Time
	Cards, Good, Percent       int
	Figures                    []Figure
	Stations                   []StationPace
	Causes                     Chart
	CauseRows                  []CauseRow
	Hours                      Chart
	HourRows                   []HourRow
	Doubts                     []DoubtLine
	Rejects                    int
	Ask                        string // address where the destruction of chips is asked for; "" if the visitor may not
	Chips, Identities          []Sum
	Href                       string // of this page
}

func (batchPage) page() string { return "line-batch" }

// A Figure is one number with what it says.
type Figure struct {
	Name, Value, Note Text
}

// A StationPace is what a station made of a batch.
type StationPace struct {
	Name, State   string
	Class         string // of the station's tile: is-warn, is-off or nothing
	Each          string
	Good, Rejects int
}

// A CauseRow is a reason for rejects.
type CauseRow struct {
	Reason  Text
	Count   int
	Percent int // of all so far
	Aside   bool
}

// An HourRow is what was made in an hour.
type HourRow struct {
	Hour          time.Time
	Good, Rejects int
}

// A DoubtLine is a chip in doubt.
type DoubtLine struct {
	Chip, Station, Href string
	Card                int
	Since               time.Time
}

// A Sum is one side of an account.
type Sum struct {
	Name  Text
	Count int
	Total bool
}

// cardsPage lists the chips of a batch.
type cardsPage struct {
	Order  string
	Form   Form
	States []Option
	Rows   []CardLine
	Next   string // address of the next ones; "" if there are none
}

func (cardsPage) page() string { return "line-cards" }

// A CardLine is one chip under an identity.
type CardLine struct {
	Card        int
	Href        string
	Chip, State string
	Station     string
	Tries       int
	Reason      Text
	At          time.Time
}

// cardPage is one identity of a batch: the chips that it had, and what was put
// on them. It shows no value: the plant's people need none.
type cardPage struct {
	Order, Back string
	Card        int
	Chips       []CardLine
	Facts       []Fact
	Files       []FileLine
	Keys        []string
}

func (cardPage) page() string { return "line-card" }

// A FileLine is a file of the profile.
type FileLine struct {
	Path string
	ID   string
	Size Text
	// Own is what in it is this card's own.
	Own  []string
	Read bool
	// Unread is why it is not read back, if it has content and is not.
	Unread string
}

// A Chart is columns with a line of shares over them, drawn by the template. A
// table beside it says the same.
type Chart struct {
	Label Text
	Max   int
	Cols  []ChartCol
	Line  string // points of the line of shares; "" for none
}

// A ChartCol is a column; the numbers are places in the drawing.
type ChartCol struct {
	X, Y, W, H, Mid int
	Value           int
	Name            string // under the column: a number, or an hour
}

// Places of a chart's drawing.
const (
	chartLeft, chartRight = 46, 540
	chartTop, chartFoot   = 24, 160
)

// newChart places columns of these values; with shares, the line of what they
// come to together.
func newChart(label Text, values []int, names []string, shares bool) Chart {
	c := Chart{Label: label}
	total := 0
	for _, v := range values {
		c.Max, total = max(c.Max, v), total+v
	}
	if c.Max == 0 {
		return c
	}
	step := (chartRight - chartLeft) / max(len(values), 4)
	so, points := 0, []string{}
	for i, v := range values {
		h := (chartFoot - chartTop) * v / c.Max
		col := ChartCol{X: chartLeft + 4 + i*step, Y: chartFoot - h, W: max(step-8, 2), H: h, Value: v, Name: names[i]}
		col.Mid = col.X + col.W/2
		c.Cols = append(c.Cols, col)
		so += v
		points = append(points, fmt.Sprintf("%d,%d", col.Mid, chartFoot-(chartFoot-chartTop)*so/total))
	}
	if shares && len(values) > 1 {
		c.Line = strings.Join(points, " ")
	}
	return c
}
