package ceremony

import (
	"fmt"

	"ankan/keys"
)

// An Effect is what happens when everybody has signed a step.
type Effect string

// The effects.
const (
	None      Effect = ""
	Enter     Effect = "enter"   // a component came from its custodian
	Join      Effect = "join"    // the components become a key
	Make      Effect = "make"    // a key is made
	Import_   Effect = "import"  // a wrapped key is opened
	Export_   Effect = "export"  // a key is wrapped
	Split     Effect = "split"   // a key becomes components, each sealed to its custodian
	Show      Effect = "show"    // a custodian saw and noted a component
	Hold      Effect = "hold"    // a holder opened a share and compared its check value
	Bring     Effect = "bring"   // a holder brought a share
	Rebuild   Effect = "rebuild" // the shares become a key
	Confirm   Effect = "confirm" // two people compared the check value: the key may be used
	Switch    Effect = "switch"  // the old key closes nothing more
	CopyGone  Effect = "copy-gone"
	Erase     Effect = "erase"  // the key goes from the module
	Unmake    Effect = "unmake" // what was restored in a rehearsal goes again
	CloseDown Effect = "close"
	RackOpen  Effect = "rack-open"  // the register hears that the rack is open
	RackClose Effect = "rack-close" // and that it is not
)

// A Step is one line of the script.
type Step struct {
	N         int      `json:"n"`
	Key       string   `json:"key"` // names its text
	Title     string   `json:"title"`
	Statement string   `json:"statement"` // what whoever signs says
	By        []string `json:"by"`        // everybody signs, each as one person
	Effect    Effect   `json:"effect,omitempty"`
	Part      int      `json:"part,omitempty"` // component, share
	Copy      string   `json:"copy,omitempty"` // name of the copy that goes
}

// Script is the steps of a plan as far as the plan alone tells: those of a
// destruction are as many as there are copies, which the site knows.
func (p Plan) Script() []Step { return p.script(nil, func(string) bool { return true }) }

// script is the steps of a plan. Copies are those of the key that a destruction
// has to find, as the register has them; here says whether a person still is.
func (p Plan) script(copies []keys.Copy, here func(person string) bool) []Step {
	var all []Step
	add := func(s Step) {
		s.N = len(all) + 1
		all = append(all, s)
	}
	km, ha := p.People[keyManager], p.People[hsmAdmin]
	add(Step{Key: "room", Title: "Check room, cameras and clock", By: []string{km},
		Statement: "The room is " + p.Room + ". It is closed, the cameras run, and the clock shows the time of the site."})
	add(Step{Key: "present", Title: "Everybody says that they are here, and compares the six words", By: p.participants(),
		Statement: "I am here in person. The six words on my screen are those that the others read out."})
	add(Step{Key: "keylogger", Title: "Check the key management PC for key loggers", By: []string{km},
		Statement: "I looked at keyboard, cables and ports of the key management PC. There is no key logger (SOP 6.4.e.i)."})
	add(Step{Key: "rack-open", Title: "Open the HSM rack with both keys", By: []string{km, ha}, Effect: RackOpen,
		Statement: "The rack was opened with the key manager's key and the HSM administrator's key (SOP 6.4.e.ii)."})
	p.work(add, copies, here)
	add(Step{Key: "waste", Title: "Destroy waste, clear screens", By: []string{km},
		Statement: "Paper, ribbons and notes that held anything of a key were destroyed. Screens are clear."})
	add(Step{Key: "rack-close", Title: "Close the HSM rack", By: []string{km, ha}, Effect: RackClose,
		Statement: "The rack is closed and both keys are out."})
	add(Step{Key: "sign", Title: "Everybody signs the transcript", By: p.participants(), Effect: CloseDown,
		Statement: "I read the transcript. It says what happened, deviations and breaks included."})
	return all
}

// work is the steps that are a kind's own.
func (p Plan) work(add func(Step), copies []keys.Copy, here func(person string) bool) {
	km, ha, so := p.People[keyManager], p.People[hsmAdmin], p.People[officer]
	confirm := func() {
		add(Step{Key: "confirm", Title: "Two people confirm the check value", By: []string{km, so}, Effect: Confirm,
			Statement: "I compared the key's check value with the form, or wrote it on the form. It is the same, by the same method (SOP 6.4.e.v)."})
	}
	switch p.Kind {
	case ImportComponents:
		for i, part := range p.Parts {
			add(Step{Key: "enter", Title: fmt.Sprintf("Enter component %d of %d", i+1, len(p.Parts)), By: []string{part.Custodian}, Effect: Enter, Part: i + 1,
				Statement: "I alone saw the paper and the keypad. The component's check value is the one on its form. The bag was whole and its number the one that I was told."})
		}
		add(Step{Key: "join", Title: "Join the components in the module", By: []string{ha}, Effect: Join, Statement: "All components are in. The module joins them now."})
		confirm()
	case Generate, Rotate:
		title := "Generate the key in the module"
		if p.Backup != nil {
			title = fmt.Sprintf("Generate the key, and %d shares of which %d restore it", len(p.Backup.Holders), p.Backup.Threshold)
		}
		add(Step{Key: "make", Title: title, By: []string{ha}, Effect: Make, Statement: "The module makes the key now, as the plan says."})
		if p.Backup != nil {
			for i, who := range p.Backup.Holders {
				add(Step{Key: "hold", Title: fmt.Sprintf("Holder of share %d opens it", i+1), By: []string{who}, Effect: Hold, Part: i + 1,
					Statement: "I opened my share. Its check value is the one on the screen. I keep it as I signed to."})
			}
		}
		confirm()
		if p.Kind == Rotate {
			add(Step{Key: "switch", Title: "Take the old key out of use", By: []string{km, ha}, Effect: Switch,
				Statement: "The new key is confirmed. The old key closes nothing more; it opens what it closed."})
		}
	case ExportComponents:
		add(Step{Key: "split", Title: "Split the key in the module", By: []string{ha}, Effect: Split,
			Statement: fmt.Sprintf("The module splits the key into %d components now, each sealed to its custodian.", len(p.Parts))})
		for i, part := range p.Parts {
			add(Step{Key: "show", Title: fmt.Sprintf("Custodian notes component %d of %d and closes the bag", i+1, len(p.Parts)), By: []string{part.Custodian}, Effect: Show, Part: i + 1,
				Statement: "I alone saw the component. I wrote it on the form, compared the check value, and closed the bag."})
		}
	case ImportWrapped:
		add(Step{Key: "import", Title: "Open the wrapped key in the module", By: []string{ha}, Effect: Import_, Statement: "The module opens the wrapped key of the plan now."})
		confirm()
	case ExportWrapped:
		add(Step{Key: "export", Title: "Wrap the key in the module", By: []string{ha, so}, Effect: Export_, Statement: "The module wraps the key now, as the plan says."})
	case Restore:
		for i, who := range p.Holders {
			add(Step{Key: "bring", Title: fmt.Sprintf("Holder %d brings a share", i+1), By: []string{who}, Effect: Bring, Part: i + 1,
				Statement: "I opened my share and gave it to the module."})
		}
		add(Step{Key: "rebuild", Title: "Restore the key in the module", By: []string{ha}, Effect: Rebuild, Statement: "Enough shares are in. The module restores the key now."})
		if p.Rehearsal {
			add(Step{Key: "compare", Title: "Compare the check value with that of the key in use", By: []string{km, so}, Statement: "The restored key has the check value of the key in use."})
			add(Step{Key: "unmake", Title: "Erase what was restored", By: []string{ha, so}, Effect: Unmake, Statement: "The rehearsal is over. The module erases what it restored now."})
		} else {
			confirm()
		}
	case Destroy:
		for _, c := range copies {
			if c.Kind == keys.CopyModule || !c.Gone.IsZero() {
				continue
			}
			by := km // copies of others are confirmed gone by the key manager, who has their word
			if (c.Kind == keys.CopyComponent || c.Kind == keys.CopyShare) && here(c.Holder) {
				by = c.Holder
			}
			add(Step{Key: "copy-gone", Title: "Destroy " + c.Name(), By: distinct(by, p.People[witness]), Effect: CopyGone, Copy: c.Name(),
				Statement: "This copy was destroyed before our eyes, or its holder gave a signed word that it was: " + c.Name() + "."})
		}
		add(Step{Key: "erase", Title: "Erase the key in the module", By: []string{km, ha, so}, Effect: Erase,
			Statement: "Every copy is gone. The module erases the key now. It cannot come back (SOP 6.4.e.viii)."})
		add(Step{Key: "witness", Title: "The witness signs the destruction", By: []string{p.People[witness]},
			Statement: "I saw the destruction of the key and of every copy. I am neither security officer, key manager nor custodian."})
	}
}

func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}
