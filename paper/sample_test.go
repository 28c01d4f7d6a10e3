package paper

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/ceremony"
	"ankan/keys"
)

func at(minute int) time.Time {
	return time.Date(2026, 11, 17, 7, 10, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
}

func mark(number string) Mark {
	return Mark{Site: "bureau-north", Number: number, SHA256: sha256.Sum256([]byte(number)), Entry: 412006, At: at(400)}
}

// own is a mark of a record that knows its number and digest.
func own() Mark { return Mark{Site: "bureau-north", Entry: 412006, At: at(400)} }

func people() []act.Person {
	var all []act.Person
	for i, role := range access.DefaultPolicy().Roles {
		all = append(all, act.Person{ID: fmt.Sprintf("P-%04d", i+1), Name: fmt.Sprintf("Asha Rao %c", 'A'+i), Roles: []string{role}, Employment: act.Permanent, ReportsTo: "P-0001"})
	}
	all[1].Name, all[2].Roles = "अनीता देशमुख", nil
	return all
}

func samplePolicy() Policy {
	return Policy{Mark: own(), Policy: access.DefaultPolicy(), People: people(), SignOff: []string{"Key manager", "Security officer", "Nodal officer", "Managing director"}}
}

func names() Names {
	return Names{"P-0005": "Asha Rao", "P-0007": "José García–Núñez", "P-0009": "अनीता देशमुख", "P-0012": "Wanda Witness", "P-0006": "Karan Custodian", "P-0016": "Kavita Custodian"}
}

const importPlan = `ceremony: OC-0044
kind: import-components
title: Import the transport key OP2-AUC-07
room: Key room 2, Bureau North
key:
  name: partner/operator-two/transport/7
  purpose: transport
  algorithm: AES-256
  partner: operator-two
  kcv: 7C09E1 CMAC
parts:
  - {custodian: P-0006, kcv: 11AA22 CMAC, form: KTF-000870, bag: TE-51220}
  - {custodian: P-0016, kcv: D10F44 CMAC, form: KTF-000871, bag: TE-51221}
people:
  key-manager: P-0005
  hsm-administrator: P-0007
  security-officer: P-0009
`

func step(n int, title, statement string, effect ceremony.Effect, by ...string) ceremony.StepNow {
	return ceremony.StepNow{Step: ceremony.Step{N: n, Title: title, Statement: statement, By: by, Effect: effect}}
}

func samplePlan(t testing.TB) Plan {
	t.Helper()
	p, err := ceremony.ParsePlan([]byte(importPlan))
	if err != nil {
		t.Fatal(err)
	}
	km, ha, so := "P-0005", "P-0007", "P-0009"
	c := ceremony.Ceremony{ID: "OC-0044", Kind: p.Kind, Title: p.Title, State: ceremony.Drafted, Editor: km, Digest: fmt.Sprintf("%x", p.Digest()), Document: importPlan,
		Drafted: at(-600), Key: p.Key.Name, Plan: p, Steps: []ceremony.StepNow{
			step(1, "Check room, cameras and clock", "The room is Key room 2, Bureau North. It is closed, the cameras run, and the clock shows the time of the site.", ceremony.None, km),
			step(2, "Everybody says that they are here, and compares the six words", "I am here in person. The six words on my screen are those that the others read out.", ceremony.None, km, ha, so, "P-0006", "P-0016"),
			step(3, "Check the key management PC for key loggers", "I looked at keyboard, cables and ports of the key management PC. There is no key logger (SOP 6.4.e.i).", ceremony.None, km),
			step(4, "Open the HSM rack with both keys", "The rack was opened with the key manager's key and the HSM administrator's key (SOP 6.4.e.ii).", ceremony.None, km, ha),
			step(5, "Enter component 1 of 2", "I alone saw the paper and the keypad. The component's check value is the one on its form. The bag was whole and its number the one that I was told.", ceremony.Enter, "P-0006"),
			step(6, "Enter component 2 of 2", "I alone saw the paper and the keypad. The component's check value is the one on its form. The bag was whole and its number the one that I was told.", ceremony.Enter, "P-0016"),
			step(7, "Join the components in the module", "All components are in. The module joins them now.", ceremony.Join, ha),
			step(8, "Two people confirm the check value", "I compared the key's check value with the form, or wrote it on the form. It is the same, by the same method (SOP 6.4.e.v).", ceremony.Confirm, km, so),
			step(9, "Destroy waste, clear screens", "Paper, ribbons and notes that held anything of a key were destroyed. Screens are clear.", ceremony.None, km),
			step(10, "Close the HSM rack", "The rack is closed and both keys are out.", ceremony.None, km, ha),
			step(11, "Everybody signs the transcript", "I read the transcript. It says what happened, deviations and breaks included.", ceremony.CloseDown, km, ha, so, "P-0006", "P-0016"),
		}}
	return Plan{Mark: own(), Ceremony: c, Names: names()}
}

func signatures(minute int, people ...string) []ceremony.StepSignature {
	var all []ceremony.StepSignature
	for i, who := range people {
		all = append(all, ceremony.StepSignature{Person: who, Act: fmt.Sprintf("%032x", minute*1000+i), At: at(minute).Add(time.Duration(i) * 7 * time.Second), Entry: int64(412100 + 10*minute + i)})
	}
	return all
}

func transcriptOf(plan string, c ceremony.Ceremony) ceremony.Transcript {
	t := ceremony.Transcript{Format: ceremony.TranscriptFormat, Site: "bureau-north", Ceremony: c.ID, Kind: c.Kind, Title: c.Title, Room: c.Plan.Room, Key: c.Key,
		Plan: plan, PlanSHA: fmt.Sprintf("%x", sha256.Sum256([]byte(plan))), Words: act.Words(sha256.Sum256([]byte(plan))), Act: strings.Repeat("5a", 16), Opened: at(0), Notes: []ceremony.Note{}}
	for i, s := range c.Steps {
		if s.Step.Effect != ceremony.CloseDown {
			t.Steps = append(t.Steps, ceremony.TranscriptStep{N: s.N, Title: s.Title, Statement: s.Statement, Signatures: signatures(3*i+1, s.Step.By...), Result: s.Result})
		}
	}
	return t
}

func sampleTranscript(tb testing.TB) Transcript {
	tb.Helper()
	c := samplePlan(tb).Ceremony
	c.Steps[6].Result = map[string]string{"key": "partner/operator-two/transport/7", "kcv": "7C09E1 CMAC"}
	t := transcriptOf(importPlan, c)
	t.Notes = []ceremony.Note{
		{Kind: "deviation", Person: "P-0005", At: at(9), Step: 4, Text: "The left lock of the rack stuck; the HSM administrator opened it at the second try. Both keys were used."},
		{Kind: "break", Person: "P-0009", At: at(14), Step: 5, Text: "Fire alarm test – everybody stayed in the room."},
		{Kind: "resumed", Person: "P-0009", At: at(19), Step: 5},
	}
	return Transcript{Mark: own(), Transcript: t, Closing: signatures(40, "P-0005", "P-0007", "P-0009", "P-0006", "P-0016"), Ended: at(42), Names: names()}
}

func sampleForm() Form {
	return Form{Mark: mark("KTF-000871"), Key: "OP2-AUC-07", Algorithm: "AES-256", Purpose: "transport", Part: 2, Of: 2, PartKCV: "D10F44 CMAC", KeyKCV: "7C09E1 CMAC",
		Ceremony: "OC-0044, step 12", Bag: "TE-51221", Seal: "TE-51221-A", ToldBy: "signed message, not with the bag", From: "Custodian E (P-0031)", To: "Custodian B (P-0016), Bureau North",
		ToSite: "bureau-south", Carrier: "Courier desk 2, by hand", HandedOver: at(0), Within: 14}
}

const destroyPlan = `ceremony: OC-0051
kind: destroy
title: Destroy the subscriber key of 2021
room: Key room 2, Bureau North
key: {name: subscriber/2021, purpose: subscriber, algorithm: AES-256}
people: {key-manager: P-0005, hsm-administrator: P-0007, security-officer: P-0009, witness: P-0012}
`

func sampleDestruction(tb testing.TB) Destruction {
	tb.Helper()
	p, err := ceremony.ParsePlan([]byte(destroyPlan))
	if err != nil {
		tb.Fatal(err)
	}
	gone := at(6)
	held := []keys.Copy{
		{Key: "subscriber/2021", Kind: keys.CopyModule, Holder: "bureau-north", KCV: "AB12CD CMAC", Since: at(-2000000), Gone: at(12)},
		{Key: "subscriber/2021", Kind: keys.CopyShare, Number: 1, Of: 3, Holder: "P-0006", Place: "OC-0002", KCV: "", Since: at(-2000000), Gone: gone},
		{Key: "subscriber/2021", Kind: keys.CopyShare, Number: 2, Of: 3, Holder: "P-0016", Place: "OC-0002", KCV: "", Since: at(-2000000), Gone: gone},
	}
	c := ceremony.Ceremony{ID: "OC-0051", Kind: p.Kind, Title: p.Title, Key: p.Key.Name, Plan: p, Steps: []ceremony.StepNow{
		step(1, "Check room, cameras and clock", "The room is Key room 2, Bureau North. It is closed.", ceremony.None, "P-0005"),
		step(2, "Destroy "+held[1].Name(), "This copy was destroyed before our eyes.", ceremony.CopyGone, "P-0006", "P-0012"),
		step(3, "Destroy "+held[2].Name(), "This copy was destroyed before our eyes.", ceremony.CopyGone, "P-0016", "P-0012"),
		step(4, "Erase the key in the module", "Every copy is gone. The module erases the key now. It cannot come back (SOP 6.4.e.viii).", ceremony.Erase, "P-0005", "P-0007", "P-0009"),
		step(5, "The witness signs the destruction", "I saw the destruction of the key and of every copy. I am neither security officer, key manager nor custodian.", ceremony.None, "P-0012"),
	}}
	return Destruction{
		Transcript: Transcript{Mark: own(), Transcript: transcriptOf(destroyPlan, c), Closing: signatures(40, "P-0005", "P-0007", "P-0009", "P-0012"), Ended: at(42), Names: names()},
		Key:        keys.Key{ID: "subscriber/2021", Purpose: "subscriber", Algorithm: "AES-256", KCV: "AB12CD CMAC", Origin: keys.Generated, State: keys.Destroyed, Made: at(-2000000), Ended: at(12)},
		Copies:     held,
	}
}

func sampleKey() keys.Key {
	return keys.Key{ID: "partner/operator-two/transport/7", Purpose: "transport", Algorithm: "AES-256", KCV: "7C09E1 CMAC", Origin: keys.Components, Owner: "operator-two",
		State: keys.Compromised, Made: at(0), Activated: at(30), Expires: at(1051230), Ended: at(3000), Uses: 1234567, Parties: []string{"operator-two", "plant-west"}}
}

func sampleCompromise() Compromise {
	return Compromise{Mark: mark("CR-0003"), Key: sampleKey(), Report: keys.Report{Key: sampleKey().ID, At: at(3000), By: "person/P-0005",
		Why: "Bag TE-51221 came back with its seal broken. Custodian B reported it within the hour.", Touched: []string{"key/order/BD-2026-17", "order/BD-2026-17", "partner/operator-two", "partner/plant-west"},
		Parties: []keys.Party{{Name: "operator-two", Sent: at(3001), Acknowledged: at(3090), Words: "We stopped its use at 14:05 IST."}, {Name: "plant-west", Sent: at(3002)}, {Name: "plant-east"}}}}
}

func sampleItems() []Item {
	return []Item{
		{Kind: "component", Number: "KTF-000871", Key: "OP2-AUC-07", Part: 2, Of: 2, KCV: "D10F44 CMAC", Bag: "TE-51221", Place: "safe 2, locker 14", Found: "whole"},
		{Kind: "share", Key: "subscriber/2026", Part: 1, Of: 3, Bag: "TE-51007", Place: "safe 2, locker 14", Found: "whole"},
		{Kind: "rack key", Number: "RK-2", Key: "HSM rack 1", Place: "safe 1"},
	}
}

func sampleInventory() Inventory {
	return Inventory{Mark: mark("INV-2026-Q4-P-0006"), Custodian: "P-0006", Before: "P-0009", Counted: at(100), Due: at(8000), Next: at(140000), Items: sampleItems(), Names: names()}
}

func sampleHandover() Handover {
	return Handover{Mark: mark("CT-0009"), From: "P-0006", To: "P-0016", Before: "P-0009", Given: at(100), Reason: "Karan Custodian leaves on 30 November 2026.", Items: sampleItems(), Names: names()}
}

func sampleHistory() History {
	k := sampleKey()
	return History{Mark: mark("partner/operator-two/transport/7"), Key: k, Events: []keys.Event{
		{Entry: 412000, At: at(0), Actor: "system:ceremony", What: "key.made", Text: "two components joined in ceremony OC-0044"},
		{Entry: 412006, At: at(30), Actor: "person/P-0005", What: "key.confirm", Text: "active"},
		{Entry: 413999, At: at(3000), Actor: "person/P-0005", What: "key.compromise", Text: "Bag TE-51221 came back with its seal broken."},
	}, Copies: []keys.Copy{
		{Key: k.ID, Kind: keys.CopyModule, Holder: "bureau-north", Since: at(0), Sealed: []byte("sealed-and-never-printed")},
		{Key: k.ID, Kind: keys.CopyComponent, Number: 2, Of: 2, Holder: "P-0016", Place: "OC-0044", KCV: "D10F44 CMAC", Since: at(0), Gone: at(20)},
		{Key: k.ID, Kind: keys.CopyPartner, Holder: "operator-two", Since: at(0)},
	}, Links: []keys.Link{{What: "order/BD-2026-17", Since: at(60), Uses: 1000000}, {What: "partner/operator-two", Since: at(0)}}}
}

func sampleSecurityTest() SecurityTest {
	hash := func(c string) string { return strings.Repeat(c, 32) }
	return SecurityTest{Mark: mark("3"), OS: "ankan-reference 1.0", Vendor: "Software Chips", Country: "IN", Image: hash("a1"), Profile: hash("b2"), Report: hash("c3"), Operator: "operator-one", ProfileOf: "in-5g-usim",
		Chip: "6327000000010053", Developers: "person P-0016, A. Writer", Testers: []string{"P-0005", "P-0007"}, Closed: at(2000), Verdict: "pass", Names: names(),
		Items: []TestItem{{"os-1", "Only an image that its vendor signed is loaded", "SOP 6.2", "pass", "", hash("d4"), "P-0005"}, {"key-4", "Keys withstand fault analysis", "ISO/IEC 17825", "not applicable", "software chips", "", "P-0007"}},
		Cases: []TestCase{{"pin-count", "A wrong PIN is counted", "TS 102 221, 9.5.1", "pass", ""}, {"pin-tear", "No try is won", "TS 102 221, 9.5.1", "not run", "this reader cannot"}}}
}

type printer interface{ PDF() ([]byte, error) }

// samples are all papers, by the kind in their QR codes.
func samples(tb testing.TB) map[string]printer {
	tb.Helper()
	return map[string]printer{
		"policy": samplePolicy(), "ceremony-plan": samplePlan(tb), "ceremony-transcript": sampleTranscript(tb), "key-transfer-form": sampleForm(),
		"key-destruction": sampleDestruction(tb), "key-compromise": sampleCompromise(), "custody-inventory": sampleInventory(),
		"custody-transfer": sampleHandover(), "key-history": sampleHistory(), "os-security-test": sampleSecurityTest(),
	}
}

// flat are all values of v as JSON has them.
func flat(tb testing.TB, v any) []string {
	tb.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(doc, &tree); err != nil {
		tb.Fatal(err)
	}
	var all []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, w := range v {
				walk(w)
			}
		case []any:
			for _, w := range v {
				walk(w)
			}
		case string:
			all = append(all, v)
		}
	}
	walk(tree)
	return all
}
