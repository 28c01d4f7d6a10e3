package console

import (
	"time"

	"ankan/act"
	"ankan/perso"
	"ankan/stock"
)

// The fixtures are views as a bureau has them on one afternoon: each page with
// much on it, and with nothing.

// noon is the time of the fixtures: 19 Nov 2026, 14:32:08 IST.
var noon = time.Date(2026, 11, 19, 9, 2, 8, 0, time.UTC)

func ago(d time.Duration) time.Time   { return noon.Add(-d) }
func ahead(d time.Duration) time.Time { return noon.Add(d) }

const day = 24 * time.Hour

var (
	keyManager = Who{"key-manager", "0021"}
	security   = Who{"security-officer", "0009"}
	hsmAdmin   = Who{"hsm-administrator", "0014"}
	dataPrep   = Who{"data-preparation", "0047"}
	custodianA = Who{"key-custodian", "0031"}
	custodianB = Who{"key-custodian", "0032"}
	witness    = Who{"witness", "0070"}

	sixWords = []string{"copper", "lantern", "walnut", "orbit", "saffron", "domino"}
	digest   = "54acd36e2821ff259f0680ac72aaaca82f20bb7951df2150c93475a3b630a5b1"
	sign     = Signing{"VKzTbighHyWfBoCscqqsqC8gu3lR3yFQyTR1o7YwpbE", "AQIDBAUGBwgJCgsMDQ4PEA", "bureau-north.example"}
	vetting  = Form{Action: "/acts/6b1f90c42d7ea813/approve", Sign: sign}
)

func signedBy(w Who, at time.Time, reason string) Seat {
	return Seat{Roles: []string{w.Role}, State: "signed", By: w, At: at, Reason: reason, Proof: []string{"passkey", "attested"}}
}

func openFor(you bool, roles ...string) Seat { return Seat{Roles: roles, State: "open", You: you} }

func bureauFrame() Frame {
	return Frame{
		Site: Site{Name: "Bureau North", Roles: []string{"bureau"}, Country: "IN", Mode: say("mode.production"), Version: "1.4.0"},
		Me:   &Me{Person: "0021", Roles: []string{"key-manager"}, Proved: []string{"certificate", "passkey"}},
		Nav: []NavItem{{Key: "inbox", Href: "/inbox", Count: 4}, {Key: "acts", Href: "/acts"}, {Key: "notices", Href: "/notices"}, {Key: "profiles", Href: "/profiles"}, {Key: "keys", Href: "/keys"}, {Key: "ceremonies", Href: "/ceremonies"},
			{Key: "transfers", Href: "/transfers", Count: 1}, {Key: "register", Href: "/register"}, {Key: "releases", Href: "/releases"}, {Key: "hsm", Href: "/hsm"}, {Key: "log", Href: "/log"}, {Key: "policy", Href: "/policy"}, {Key: "people", Href: "/people"}, {Key: "sessions", Href: "/sessions"}, {Key: "glass", Href: "/glass"}},
		Log: 1204883, Witnessed: ago(12 * time.Second),
	}
}

func gateFrame() Frame {
	f := bureauFrame()
	f.Me, f.Nav = nil, nil
	return f
}

func glassFrame() Frame {
	f := bureauFrame()
	f.Glass = &OpenGlass{By: security, Why: "HSM administrator is unreachable, rack 1 has no power", Until: ahead(41 * time.Minute), Href: "/glass"}
	f.Said = []Said{{"ok", say("founding.done")}, {"bad", say("glass.review.due")}}
	return f
}

func releaseAct() act.Act {
	return act.Act{
		Format: act.Format, ID: "6b1f90c42d7ea8136b1f90c42d7ea813", Site: "bureau-north", Kind: "order.release", Subject: "OP1-2611-0042", Requester: "0047",
		Params: map[string]string{
			"operator": "operator-one", "quantity": "250000", "profile": "op1-usim-isim-5g version 14, sha256:71c2d05e0f5f4c0ea40b9e",
			"iccid": "8999901261142000000 to 8999901261142249999", "imsi": "001010420000000 to 001010420249999",
			"keys_out": "OP1-AUC-03, AES-256, KCV 4F19A2 GP", "plant": "plant-west, country IN", "destroy": "30 days after acknowledgement", "reason": "Monthly order of November, contract C-OP1-7",
		},
		At: ago(166 * time.Minute), ApproveBy: ago(166 * time.Minute).Add(day), UseWithin: 900,
	}
}

func clocksOf(asked time.Time, approve, use time.Duration) Clocks {
	return Clocks{Asked: asked, ApproveBy: asked.Add(approve), UseWithin: use}
}

func fixtureAct(kind, subject string, by Who, note string, c Clocks, seats ...Seat) ActLine {
	return ActLine{Href: "/acts/6b1f90c4", Kind: kind, Subject: subject, By: by, Note: plain(note), Words: sixWords, Seats: seats, Clocks: c, State: "waits"}
}

func waiting() []ActLine {
	short := clocksOf(ago(52*time.Minute), 90*time.Minute, 15*time.Minute)
	grave := fixtureAct("order.destroy", "OP1-2608-0031", dataPrep, "6 copies", clocksOf(ago(46*time.Hour), 7*day, day), signedBy(hsmAdmin, ago(3*time.Hour), ""), openFor(true, "key-manager"), openFor(false, "witness"))
	grave.Grave = true
	return []ActLine{
		fixtureAct("key.activate", "OP2-AUC-07", custodianA, "KCV 7C09E1 GP", short, signedBy(security, ago(time.Hour), ""), openFor(true, "key-manager")),
		fixtureAct("order.release", "OP1-2611-0042", dataPrep, "Operator One, 250,000 cards", clocksOf(ago(166*time.Minute), day, 15*time.Minute), signedBy(security, ago(time.Hour), ""), openFor(true, "key-manager")),
		fixtureAct("person.enrol", "0034", security, "Custodian D", clocksOf(ago(time.Hour), day, day), openFor(true, "key-manager"), openFor(false, "security-officer")),
		grave,
	}
}

func askedFor() []ActLine {
	approved := fixtureAct("key.share", "OP1-OTA-03", keyManager, "All have signed; use it in time", clocksOf(ago(3*time.Hour), day, 15*time.Minute), signedBy(security, ago(20*time.Minute), ""), signedBy(hsmAdmin, ago(7*time.Minute), ""))
	approved.State, approved.Clocks.Approved, approved.Clocks.UseBy = "approved", ago(7*time.Minute), ahead(8*time.Minute+20*time.Second)
	open := fixtureAct("ceremony.plan", "CER-0120", keyManager, "Waits on the HSM administrator", clocksOf(ago(20*time.Hour), day, day), signedBy(security, ago(2*time.Hour), ""), openFor(false, "hsm-administrator"))
	rejected := fixtureAct("policy.adopt", "3", keyManager, "", clocksOf(ago(9*time.Hour), day, day), Seat{Roles: []string{"security-officer"}, State: "rejected", By: security, At: ago(4 * time.Hour), Reason: "Clock for destruction is too long."})
	rejected.State, rejected.Ended, rejected.Reason = "rejected", ago(4*time.Hour), "Clock for destruction is too long."
	return []ActLine{approved, open, rejected}
}

func notices() []Notice {
	return []Notice{
		{ago(30 * time.Minute), "unread", plain("Your request to adopt policy 3 was rejected: “Clock for destruction is too long.”"), "/acts/1"},
		{ago(26 * time.Hour), "read", plain("Custodian C was sighted with seal TE-40419."), "/register"},
		{time.Date(2025, 12, 31, 20, 0, 0, 0, time.UTC), "read", plain("Your passkey was used from a new machine."), "/sessions"},
	}
}

var fixtureProfile = ProfileLine{Name: "op1-usim-isim-5g", Version: "14", Href: "/profiles/op1-usim-isim-5g", Description: "5G USIM with ISIM of Operator One", Operator: "Operator One, 001 01", Files: 98, Source: say("profiles.of-site")}

func fixtureProfilePage() profilePage {
	read := []string{"read: always", "update: ADM1"}
	imsi := ProfileFile{Name: "EF.IMSI", ID: "6F07", SFI: "07", Kind: "transparent", Length: "9", Rule: "pin1-adm1", Allowed: []string{"read: PIN1", "update: ADM1"}, Clause: "TS 31.102, 4.2.2", Content: []string{"${IMSI}"}}
	ecc := ProfileFile{Name: "EF.ECC", ID: "6FB7", SFI: "01", Kind: "linear fixed", Length: "4 × 16", Rule: "always-adm1", Allowed: read, Clause: "TS 31.102, 4.2.21", Content: []string{"{number: 112, name: Emergency, category: 1F}", "{number: 100, name: Police, category: 01}"}, Unused: 2}
	urls := ProfileFile{Name: "EF.URSP", ID: "4F0B", Kind: "BER-TLV", Length: "1024", Rule: "pin1-adm1", Link: "MF/DF.TELECOM/EF.X", Allowed: read, Service: "EF.UST 132", Open: true}
	usim := ProfileFile{Name: "ADF.USIM", ID: "7FF0", AID: "A0000000871002FF91FF0189", Kind: "ADF", Rule: "dir", Allowed: []string{"create-ef: ADM1"}, Directory: true, Open: true, Files: []ProfileFile{imsi, ecc, urls}}
	return profilePage{
		Profile: fixtureProfile, Digest: digest, Facts: []Fact{{say("profile.operator"), plain("Operator One")}, {plain("SCP03"), say("profile.keys", "30", plain("AES-256"))}},
		Codes: []ProfileCode{{"pin1", "01", false, 4, 3, 10}, {"adm1", "0A", true, 8, 10, 0}}, Rules: []ProfileRule{{"always-adm1", read}},
		Norms: []ProfileNorm{{"mnc", "TS 31.102, 4.2.18"}}, Script: []Fact{{say("profile.steps"), plain("140")}, {say("profile.wire"), say("profile.bytes", 9340)}},
		Unread: []ProfileUnread{{"MF/ADF.USIM/EF.X", "nobody may read it"}}, Root: ProfileFile{Name: "MF", ID: "3F00", Kind: "MF", Rule: "dir", Directory: true, Open: true, Files: []ProfileFile{usim}},
	}
}

func options(current string, pairs ...string) []Option {
	all := []Option{{"", say("any"), current == ""}}
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, Option{pairs[i], say(pairs[i+1]), pairs[i] == current})
	}
	return all
}

var states = options("", "waits", "state.waits", "approved", "state.approved", "rejected", "state.rejected")

func claims() []Claim {
	return []Claim{
		{say("claim.machine"), "checked", say("claim.machine.how")}, {say("claim.present"), "checked", say("claim.present.how")}, {say("claim.verified"), "checked", say("claim.verified.how")},
		{say("claim.bound"), "checked", say("claim.bound.how")}, {say("claim.counter"), "checked", say("claim.counter.how", 1204, 1205)},
	}
}

func people() []PersonLine {
	return []PersonLine{
		{"0009", "Meera Nair", "/people/0009", []string{"security-officer"}, "employed", "", "valid", 2, ago(12 * time.Minute)},
		{"0021", "Arjun Rao", "/people/0021", []string{"key-manager"}, "employed", "0002", "valid", 2, ago(time.Hour)},
		{"0031", "Sunita Devi", "/people/0031", []string{"key-custodian"}, "employed", "0021", "due", 2, ago(26 * time.Hour)},
		{"0033", "<script>alert(1)</script>", "/people/0033", []string{"key-custodian"}, "leaving", "0021", "expired", 1, ago(30 * day)},
		{"0012", "Vikram Shah", "/people/0012", []string{"data-preparation"}, "left", "0002", "expired", 0, ago(400 * day)},
		{"0050", "Farah Khan", "/people/0050", []string{"auditor"}, "locked", "", "valid", 1, time.Time{}},
	}
}

func passkeys() []Passkey {
	return []Passkey{
		{"9f21 40aa", "Security key A, firmware 5.7", []string{"passkey", "attested"}, 1205},
		{"03bc 77e1", "Security key A, firmware 5.7", []string{"passkey", "attested"}, 3},
	}
}

func sessions() []Session {
	return []Session{
		{ago(5 * time.Hour), ago(time.Minute), ahead(3 * time.Hour), "active", "Key management PC 2, Bureau North", []string{"certificate", "passkey"}, true, "/sessions/1/end"},
		{ago(4 * time.Hour), ago(3 * time.Hour), ahead(4 * time.Hour), "active", "10.0.4.17", []string{"password", "passkey"}, false, "/sessions/2/end"},
		{ago(30 * time.Hour), ago(23 * time.Hour), ago(22 * time.Hour), "ended", "Key management PC 2, Bureau North", []string{"certificate", "passkey"}, false, ""},
	}
}

func steps() []Step {
	return []Step{
		{State: "done", Text: plain("Asked for"), By: keyManager, At: ago(148 * day)},
		{State: "done", Text: plain("Made in ceremony CER-0104"), At: ago(146 * day), Note: plain("4 people, no deviation"), Href: "/ceremonies/CER-0104"},
		{State: "done", Text: plain("KCV confirmed by both sites"), At: ago(140 * day)},
		{State: "now", Text: plain("Active, 20 uses"), At: ago(10 * day), Note: plain("order 0038")},
		{State: "todo", Text: plain("Rotate"), At: time.Date(2027, 6, 26, 12, 30, 0, 0, time.UTC)},
		{State: "todo", Grave: true, Text: plain("Destroy, with witness")},
	}
}

func kcvOf(v string) KCV { return KCV{v, "GP"} }

func keyLine() KeyLine {
	return KeyLine{"OP1-AUC-03", "/keys/OP1-AUC-03", say("purpose.transport"), "AES-256", "Operator One", "active", false, kcvOf("4F19A2"), ahead(219 * day), Text{}}
}

func ceremonySteps(now int) []ScriptStep {
	titles := []string{"Check room, cameras, clock", "Prove who is here", "Compare the six words", "Check PC for key loggers", "Open HSM rack 1", "Open bags, check serials", "Enter component 1", "Enter component 2", "Join and check the KCV", "Confirm KCV against form", "Destroy waste, clear screen", "Close rack, seal bags", "Everyone signs"}
	var all []ScriptStep
	for i, title := range titles {
		s := ScriptStep{N: i + 1, Title: plain(title), State: "todo", By: keyManager, Grave: i == 10}
		switch {
		case i+1 < now:
			s.State, s.At = "done", ago(time.Duration(60-4*i)*time.Minute)
		case i+1 == now:
			s.State = "now"
		}
		all = append(all, s)
	}
	return all
}

func runner(now int) ceremonyPage {
	all := ceremonySteps(now)
	return ceremonyPage{
		Number: "CER-0119", Title: "Load key OP2-AUC-07 in two components", Site: "Bureau North", State: "running", Began: ago(time.Hour),
		Present: []Presence{{keyManager, "present", true}, {custodianA, "present", false}, {custodianB, "present", false}, {hsmAdmin, "present", false}, {witness, "away", false}}, PresentNote: plain("Witness out, step may go on"),
		Steps: all, Words: sixWords, Current: all[now-1], Note: plain("The old key OP2-AUC-06 stays valid until step 13"),
		Deviate: Form{Action: "/ceremonies/CER-0119/deviation"}, Break: "/ceremonies/CER-0119/break", Abort: &Form{Action: "/ceremonies/CER-0119/abort", Sign: sign},
		NextLabel: plain("Next: join and check"),
	}
}

func logLines() []LogLine {
	return []LogLine{
		{1204883, ago(3 * time.Second), "site:plant-west", "batch.report", "OP1-2611-0040", "batch 3, 61,248 good", "done", "a7 1c …"},
		{1204882, ago(66 * time.Second), "person:0021", "custody.signed", "act/6b1f90c4", "", "done", "05 e2 …"},
		{1204881, ago(77 * time.Second), "person:0047", "order.release", "OP1-2611-0041", "warrant already spent", "refused", "6d 0a …"},
	}
}

func checkpoint() Checkpoint {
	return Checkpoint{"bureau-north.example/log", 1204872, digest, ago(12 * time.Second), "bureau-north.example/log+4Jb0x+Qk", "bureau-north.example/log\n1204872\nVKzTbighHyWfBoCscqqsqC8gu3lR3yFQyTR1o7YwpbE=\n\n— bureau-north.example/log 4Jb0x+Qk…\n", "/log/checkpoint"}
}

// A shot is one page in one state.
type shot struct {
	name  string
	frame func() Frame
	view  view
}

func shots() []shot {
	lastSign := &SignIn{ago(5 * time.Hour), claims()}
	pager := Pager{1, 20, 120488, "", "/log?before=1204863"}
	filter := Form{Action: "/keys", Values: map[string]string{"q": "OP1"}}
	released := releaseAct()
	approve, reject := vetting, Form{Action: "/acts/6b1f90c4/reject", Sign: sign}
	waits := actPage{
		Act: released, State: "waits", Sub: plain("Lets the bureau draw keys for 250,000 cards of Operator One and send them, sealed, to Plant West."),
		Changes: []Row{{plain("Order OP1-2611-0042"), plain("accepted"), plain("released")}, {plain("Identities reserved"), plain("250,000 held"), plain("250,000 spent, for ever")}, {plain("Contract C-OP1-7, left this year"), plain("1,400,000"), plain("1,150,000")}},
		Checks:  []Claim{{plain("Signer"), "checked", plain("Operator One key A41C 7702")}, {plain("Replay"), "checked", plain("No identity of the 250,000 was ever issued")}},
		Seats:   []Seat{signedBy(security, ago(150*time.Minute), "Ranges compared with the contract annex."), openFor(true, "key-manager")}, Requester: dataPrep,
		Clocks: Clocks{Asked: released.At, ApproveBy: released.ApproveBy, UseWithin: 900 * time.Second}, May: []string{"key-manager"},
		MayNot:  []Excluded{{dataPrep, say("why.asked")}, {Who{"data-preparation", "0033"}, say("why.manages")}, {hsmAdmin, say("why.role")}, {security, say("why.signed")}, {custodianB, say("why.reports")}},
		Approve: &approve, Reject: &reject, Bytes: "/acts/6b1f90c4/bytes", Log: "/log?subject=order%2FBD-2026-0042",
	}
	why := say("why.asked")
	rejected := waits
	rejected.State, rejected.Approve, rejected.Reject, rejected.Changes, rejected.Checks = "rejected", nil, nil, nil, nil
	rejected.Seats = []Seat{signedBy(security, ago(150*time.Minute), ""), {Roles: []string{"key-manager"}, State: "rejected", By: keyManager, At: ago(20 * time.Minute), Reason: "Range is not in the annex."}}
	rejected.Outcome = &Outcome{"rejected", ago(20 * time.Minute), plain("One person rejected it; the act is over."), []Reason{{keyManager, ago(20 * time.Minute), "Range is not in the annex."}}}
	use := Form{Action: "/acts/6b1f90c4/use"}
	approved := waits
	approved.State, approved.Grave, approved.Approve, approved.Reject, approved.Use, approved.Why = "approved", true, nil, nil, &use, &why
	approved.Act.Kind, approved.Act.Params = "order.destroy", map[string]string{}
	approved.Clocks.Approved, approved.Clocks.UseBy = ago(3*time.Minute), ahead(12*time.Minute)
	approved.Seats = []Seat{signedBy(security, ago(20*time.Minute), ""), signedBy(witness, ago(3*time.Minute), "")}
	graveWaits := waits
	graveWaits.Grave, graveWaits.Act.Kind, graveWaits.Act.Subject = true, "key.destroy", "OP1-AUC-02"
	hidden := waits
	hidden.Act.Params = map[string]string{"note": "abc\u202edcba", "plain": "x"}
	hidden.Seats, hidden.Approve, hidden.Reject, hidden.Why = nil, nil, nil, &why

	kinds := options("order.release", "order.release", "act", "key.destroy", "key.destroy")
	problem, missing := say("policy.diff.none"), say("why.role")
	badForm := Form{Action: "/people", Values: map[string]string{"person": "0034", "name": "<b>Kiran</b>"}, Errors: map[string]Text{"person": plain("number 0034 belonged to somebody; numbers are used once"), "reason": missing}, Problem: &problem}

	step8 := runner(8)
	step8.Mine = true
	step8.Lead = plain("Custodian B alone sees the paper and the keypad. Everyone else looks away. The digits are never shown.")
	blocked := plain("Component 2 is not entered yet")
	step8.Blocked, step8.Next = &blocked, &Form{Action: "/ceremonies/CER-0119/next", Sign: sign}
	step8.Components = []Component{{1, custodianA, "checked", 64, kcvOf("B83D51"), "TE-51220", ago(6 * time.Minute)}, {2, custodianB, "entering", 64, KCV{}, "TE-51221", time.Time{}}}
	step8.Entry = &Entry{"/ceremonies/CER-0119/component/2", 2, 64, 60, "AES", "GP", `{"spki":"AA","content":"key component","label":"OP2-AUC-07/2"}`}
	bring := step8
	bring.Entry, bring.Bring = nil, &Bring{"/ceremonies/CER-0119/component/2", "{}", "GP"}
	other := step8
	other.Mine, other.Entry, other.Next, other.Blocked = false, nil, nil, nil
	other.Components = append([]Component{}, step8.Components...)
	other.Components[0].State = "todo"
	checks := runner(4)
	checks.Mine, checks.Lead, checks.Next = true, plain("You look at the key management PC, its ports and cables, and say what you found."), &Form{Action: "/ceremonies/CER-0119/next", Sign: sign}
	checks.Checks = []ScriptCheck{{"loggers", plain("No key logger sits on keyboard, ports or cables (SOP 6.4.e.i)"), true, keyManager, ago(time.Minute)}, {"seals", plain("The seals of the case are whole: TE-7001, TE-7002"), false, Who{}, time.Time{}}}
	checks.Deviations = []Deviation{{ago(20 * time.Minute), 2, hsmAdmin, "Came 5 minutes late."}}
	watched := checks
	watched.Mine, watched.Next = false, nil
	paused := runner(10)
	paused.State, paused.Lead = "paused", plain("Two people compare the check value with the form.")
	paused.KCV = &KCV{"7C09E1", "GP"}

	found := &OpenGlass{By: security, Why: "HSM administrator is unreachable", Until: ahead(41 * time.Minute), Href: "/glass"}
	review := say("glass.review.due")
	transfer := transferPage{
		Paper:  "/forms/bureau/KTF-000007/form.pdf",
		Number: "KTF-000871", State: "announced", Sender: TransferSide{"operator-two", "0105"}, Receiver: TransferSide{"bureau-north", "0032"}, Key: "OP2-AUC-07", Holds: say("form.component", 2, 2), KCV: kcvOf("D10F44"), Whole: kcvOf("7C09E1"), Ceremony: "OC-0044",
		Bag: "TE-51221", Seal: "TE-51221-A", Carrier: "Courier desk 2, by hand", Issued: ago(50 * time.Hour), Words: sixWords, Inspect: &Form{Action: "/forms/operator-two/KTF-000871"}, Acts: []KeyAct{{"form.receive", "/acts/new?kind=form.receive", false}},
		Life: []Step{{State: "done", Text: say("state.announced"), At: ago(50 * time.Hour)}},
	}
	done := transfer
	done.State, done.Inspect, done.Acts, done.Received, done.Why = "tampered", nil, nil, &Receipt{ago(time.Hour), "TE-51221", "TE-51221-B", false, "The edge was cut and glued."}, "the seal is another one"
	candidates := []Candidate{{custodianB, true, Text{}, true}, {custodianA, false, plain("no training in date"), false}}
	held := []ThingLine{{"copy/share/1/CER-0104/OP1-AUC-03", "/keys/OP1-AUC-03", "share 1 of 3, 0031, CER-0104", true, ago(83 * day), "in-place", "seen", true}, {"item/locker/L7", "/items/locker/L7", "locker L7", false, ago(300 * day), "missing", "", false}}
	locker := ItemLine{"locker", "L7", "/items/locker/L7", custodianA, Touch{"HSM room, wall B", ""}, Touch{}, "in-place", ago(300 * day)}
	inHand := ItemLine{"physical-key", "K-17", "/items/physical-key/K-17", keyManager, Touch{"item/locker/L7", "/items/locker/L7"}, Touch{"item/rack/R1", "/items/rack/R1"}, "missing", ago(2 * day)}
	count := Due{custodianA, "/custody/0031", ahead(6 * day), "later", 2}
	over := Due{custodianB, "/custody/0032", ago(6 * day), "overdue", 3}
	problemForm := Form{Action: "/handover", Problem: &problem}

	lost := keyLine()
	lost.State = "compromised"
	key := keyPage{
		Key: lost, Sub: say("purpose.transport.sub"), Extract: say("extract.wrapped"), Count: 41,
		Facts:     []Fact{{say("key.origin"), say("origin.components")}, {say("key.owner"), plain("bureau-north")}, {say("key.made"), plainly(ago(146 * day))}, {say("key.rotate"), say("key.rotate.never")}},
		Confirmed: &Step{Note: plain("check value 4F19A2 GP confirmed by 0021 and 0014"), Href: "/log/990030", At: ago(146 * day)},
		Compare:   Form{Action: "/keys/OP1-AUC-03", Values: map[string]string{"kcv": "4F19A2"}}, Compared: &Text{Key: "key.compare.same"},
		Methods:   []Option{{"", say("any"), true}, {"GP", say("method.gp"), false}, {"CMAC", say("method.cmac"), false}},
		Genealogy: []Kin{{"made-by", "OP1-KEK-02", "/keys/OP1-KEK-02", "active", say("kin.since", say("purpose.exchange"), ago(146*day))}, {"made", "OP1-X", "", "destroyed", Text{}}},
		Copies: []Copy{{say("copy.module", 0, 0), "network module", plain("bureau-north"), KCV{}, "in-place", ago(146 * day), time.Time{}}, {say("copy.share", 1, 3), "CER-0104", say("who.person", "0031"), kcvOf("77AA10"), "in-place", ago(146 * day), time.Time{}},
			{say("copy.share", 3, 3), "", say("who.person", "0032"), KCV{}, "destroyed", ago(146 * day), ago(day)}},
		Parties: []Party{{Name: "operator-one", Since: ago(140 * day), State: "active"}}, Life: steps(), Uses: []Use{{Touch{"order/OP1-2611-0042", ""}, ago(10 * day), 40}, {Touch{"ceremony/CER-0104", "/ceremonies/CER-0104"}, ago(146 * day), 1}},
		Blast: []Touch{{"order/OP1-2611-0042", ""}, {"key/OP1-X", "/keys/OP1-X"}}, Acts: []KeyAct{{"key.suspend", "/acts/new?kind=key.suspend", false}, {"key.compromise", "/acts/new?kind=key.compromise", true}},
		History: "/papers/history/OP1-AUC-03", Rotate: "/ceremonies/new?kind=rotate", Destroy: "/ceremonies/new?kind=destroy",
		Report: &KeyReport{"OP1-AUC-03", "/keys/OP1-AUC-03", "/papers/compromise/OP1-AUC-03", ago(day), say("who.person", "0021"), "the bag TE-51221 was open", []Touch{{"order/OP1-2611-0042", ""}}, []Party{{Name: "operator-one", State: "compromised", Told: ago(23 * time.Hour), Acknowledged: ago(20 * time.Hour), Words: "person 0105 of operator-one"}, {Name: "operator-two", State: "compromised"}}},
	}
	pair := keyPage{Key: KeyLine{"log", "/keys/log", say("purpose.log"), "Ed25519", "", "active", false, KCV{Method: noKCV}, time.Time{}, Text{}}, Sub: say("purpose.log.sub"), Extract: say("extract.never"), Public: digest, Count: 3, History: "/papers/history/log"}

	approvedIn := IntegrationLine{"operator-one", "in-5g-usim", "/releases/x/operator-one/in-5g-usim", "approved", "laboratory 3", ago(12 * day), []Who{hsmAdmin}}
	withdrawnIn := IntegrationLine{"operator-two", "in-4g-usim", "/releases/x/operator-two/in-4g-usim", "withdrawn", "laboratory 3", ago(90 * day), []Who{hsmAdmin, security}}
	releaseFacts := []Fact{{say("release.vendor"), plain("Software Chips")}, {say("release.country"), plain("IN")}, {say("release.image"), plain(inFours(digest))}}
	standing := standingPage{Name: "ankan-reference 1.0", Href: "/releases/x", Operator: "operator-one", Profile: "in-5g-usim", State: "tested", Facts: releaseFacts, Open: 1, Passed: 1, Failed: 1, NotApplicable: 1,
		Groups: []CheckGroup{{"os", []CheckLine{{"os-1", "Only an image that its vendor signed is loaded", "केवल विक्रेता द्वारा हस्ताक्षरित इमेज लोड होती है", "SOP 6.2", "pass", "", digest, security, ago(day)}, {"os-4", "The chip fits", "चिप अनुरूप है", "BSI-CC-PP-0084", "not-applicable", `it is "software"`, "", security, ago(day)}}},
			{"made", []CheckLine{{"made-1", "It is developed in a protected environment", "सुरक्षित परिवेश में विकसित", "SOP 5.i", "fail", "a door was open", digest, security, ago(day)}, {"made-2", "No weakness is open", "कोई कमज़ोरी खुली नहीं", "SOP 6.3.1.v", "open", "", "", Who{}, time.Time{}}}}},
		Find: &Form{Action: "/releases/x/operator-one/in-5g-usim", Problem: &problem}, Items: []Option{{"made-2", plain("made-2: No weakness is open"), true}}, Results: []Option{{"pass", say("state.pass"), false}, {"fail", say("state.fail"), false}},
		Reports: []SuiteReport{{"6327000000010053", digest, "/reports/x", ago(2 * day), security, 32, 1, 1, []CaseLine{{"pin-count", "A wrong PIN is counted", "TS 102 221, 9.5.1", "fail", "the counter is 3, want 2"}, {"aka", "The USIM answers", "TS 33.102, 6.3", "pass", ""}, {"pin-tear", "No try is won", "TS 102 221, 9.5.1", "not-run", "this reader cannot"}}}},
		Tests:   []TestLine{{ago(day), "pass", []Who{security}, "/acts/1"}}, Seats: [][]string{{"security-officer"}, {"shift-lead", "key-manager"}}, Testers: []string{"2006"}, Makers: []string{"person 1007", "A. Writer"},
		Asks:  []ReleaseAct{{"release.test", "/acts/new?kind=release.test", nil, false}, {"release.approve", "/acts/new?kind=release.approve", nil, true}, {"release.withdraw", "", &Form{Action: "/releases/x/operator-one/in-5g-usim/withdraw"}, false}},
		Loads: []LoadLine{{"OP1-2611-0042", ago(3 * time.Hour)}}, Before: []IntegrationLine{withdrawnIn}, Life: steps(), Paper: "/releases/x/operator-one/in-5g-usim/test.pdf"}

	return []shot{
		{"signin", gateFrame, signInPage{First: Form{Action: "/sign-in", Errors: map[string]Text{"password": plain("number or password is wrong")}}}},
		{"signin-second", gateFrame, signInPage{Certificate: &Certificate{"Key management PC 2, Bureau North", "Bureau North Devices CA 1", "b7:40:2e:91 … 0c:5d", time.Date(2027, 2, 2, 0, 0, 0, 0, time.UTC)}, Second: &Form{Action: "/sign-in/passkey"}, Keys: []KeyChoice{{"Security key A, 9f21 40aa", sign}, {"Security key A, 03bc 77e1", sign}}, Expires: ahead(58 * time.Second), Person: "0021", Last: lastSign}},
		{"enrol-code", gateFrame, enrolPage{Step: "code", Form: Form{Action: "/enrol"}, CodeEnds: ahead(23 * time.Hour)}},
		{"enrol-password", gateFrame, enrolPage{Step: "password", Form: Form{Action: "/enrol/password", Problem: &problem}, Who: custodianA, CodeEnds: ahead(23 * time.Hour)}},
		{"enrol-passkey", gateFrame, enrolPage{Step: "passkey", Form: Form{Action: "/enrol/passkey", Register: `{"rp":{"id":"bureau-north.example"}}`}, Who: custodianA, CodeEnds: ahead(23 * time.Hour), Passkeys: passkeys()[:1]}},
		{"enrol-done", gateFrame, enrolPage{Step: "done", Who: custodianA, CodeEnds: ahead(time.Hour), Passkeys: passkeys()}},
		{"founding-code", gateFrame, foundingPage{Step: "code", Form: Form{Action: "/"}}},
		{"founding-prove", gateFrame, foundingPage{Step: "prove", Form: Form{Action: "/", Register: `{}`}, Founders: []Founder{{openFor(true, "security-officer"), true, false}, {openFor(false, "key-manager"), false, true}}, People: people()[:2], Policy: policySummary{1, 13, 22, 10, digest}}},
		{"founding-gathers", gateFrame, foundingPage{Step: "gathers", Founders: []Founder{{openFor(true, "security-officer"), true, true}, {openFor(false, "key-manager"), false, false}}, People: people()[:2], Policy: policySummary{1, 13, 22, 10, digest}}},
		{"founding-sign", gateFrame, foundingPage{Step: "sign", Words: sixWords, Digest: digest, Form: Form{Action: "/", Sign: sign}, Founders: []Founder{{openFor(true, "security-officer"), true, true}, {signedBy(keyManager, ago(time.Minute), ""), false, true}}, People: people()[:2], Policy: policySummary{1, 13, 22, 10, digest}}},
		{"founding-waits", gateFrame, foundingPage{Step: "waits", Words: sixWords, Digest: digest, Founders: []Founder{{signedBy(security, ago(time.Minute), ""), true, true}, {openFor(false, "key-manager"), false, true}}, People: people()[:2], Policy: policySummary{1, 13, 22, 10, digest}}},
		{"founding-done", gateFrame, foundingPage{Step: "done", Words: sixWords, Digest: digest, Policy: policySummary{1, 13, 22, 10, digest}}},
		{"founding-failed", gateFrame, foundingPage{Step: "failed", Words: sixWords, Digest: digest, Policy: policySummary{1, 13, 22, 10, digest}}},
		{"restoring-code", gateFrame, restoringPage{Step: "code", Form: Form{Action: "/", Problem: &problem}, Origin: "https://keys.bureau-north.example", Elsewhere: "10.0.0.7"}},
		{"restoring-open", gateFrame, restoringOf("open", 1)},
		{"restoring-waits", gateFrame, restoringOf("waits", 2)},
		{"restoring-restores", gateFrame, restoringOf("restores", 3)},
		{"restoring-done", gateFrame, restoringOf("done", 3)},
		{"restoring-failed", gateFrame, restoringOf("failed", 3)},
		{"inbox", bureauFrame, inboxPage{Waits: waiting(), Asked: askedFor(), Told: notices(), Ask: "/ask", Duties: []Duty{{plain("Check the PC of the HSM room for key loggers"), "/duties/1", "6.4.e.i", "due", ahead(3 * time.Hour), plain("CER-0120 stops")}, {plain("Be present at the quarterly key inventory"), "", "6.3.2.q", "later", ahead(6 * day), plain("Ceremonies stop")}}}},
		{"inbox-empty", bureauFrame, inboxPage{}},
		{"inbox-glass", glassFrame, inboxPage{Waits: waiting()[:1]}},
		{"act-waits", bureauFrame, waits},
		{"act-grave", bureauFrame, graveWaits},
		{"act-rejected", bureauFrame, rejected},
		{"act-approved", bureauFrame, approved},
		{"act-hidden", bureauFrame, hidden},
		{"ask", bureauFrame, askPage{Form: Form{Action: "/ask"}, Kinds: kinds}},
		{"ask-proposed", bureauFrame, askPage{Form: Form{Action: "/ask", Values: map[string]string{"kind": "order.release", "subject": "OP1-2611-0042"}}, Kinds: kinds, Proposed: &released, Changes: waits.Changes, Needs: []Seat{openFor(false, "key-manager"), openFor(false, "security-officer")}, Sign: &Form{Action: "/ask", Sign: sign}}},
		{"acts", bureauFrame, actsPage{Form: Form{Action: "/acts"}, States: states, Kinds: kinds, Acts: append(waiting(), askedFor()...), Pager: pager, Ask: "/ask"}},
		{"acts-empty", bureauFrame, actsPage{Form: Form{Action: "/acts"}, States: states, Kinds: kinds}},
		{"notices", bureauFrame, noticesPage{notices(), 1, pager}},
		{"notices-empty", bureauFrame, noticesPage{}},
		{"people", bureauFrame, peoplePage{Form: Form{Action: "/people"}, Roles: options("", "key-manager", "role.key-manager"), States: states, People: people(), Pager: pager, New: "/people/new"}},
		{"people-empty", bureauFrame, peoplePage{Form: Form{Action: "/people"}, Roles: states, States: states}},
		{"person", bureauFrame, personPage{Person: people()[2], Employment: Employment{say("employment.permanent")}, Above: &keyManager, Below: []Who{{"", "0081"}}, Training: []Training{{"Key handling, course 3", ago(300 * day), ahead(18 * day), "due", keyManager}}, Statements: []Statement{{"Statement of key custodians", 3, ago(300 * day), "signed", "/statements/custodian/3"}, {"Statement of confidentiality", 1, time.Time{}, "due", "/statements/nda/1"}}, Passkeys: passkeys(), Sessions: sessions(), History: steps(), Acts: waiting()[2:3], You: true, Change: "/people/0031/change", Leave: "/people/0031/leave"}},
		{"person-empty", bureauFrame, personPage{Person: people()[3], Employment: Employment{say("employment.temporary")}, History: steps()[:1]}},
		{"person-form", bureauFrame, personFormPage{New: true, Form: badForm, Roles: []RoleChoice{{"key-manager", true, []string{"key-custodian", "security-officer"}}, {"key-custodian", true, []string{"key-manager"}}, {"auditor", false, nil}}, Kinds: []Option{{"permanent", say("person.kind.permanent"), true}, {"temporary", say("person.kind.temporary"), false}}, Superiors: options("0021", "0021", "role.key-manager"), Conflicts: []Text{plain("key-manager and key-custodian exclude each other")}}},
		{"person-change", bureauFrame, personFormPage{Who: custodianA, Form: Form{Action: "/people/0031"}, Roles: []RoleChoice{{"key-custodian", true, nil}}, Kinds: states, Superiors: states}},
		{"leaver", bureauFrame, leaverPage{people()[3], Form{Action: "/people/0033/leave"}, []Holding{{plain("Component 2 of OP1-KEK-02, bag TE-40419"), "in-place", Who{}, "/custody/new?item=c1"}, {plain("Locker 9"), "due", custodianB, "/custody/CT-0014"}}, []Text{say("leaver.ends.sessions", 1), say("leaver.ends.passkeys", 2), say("leaver.ends.acts", 3)}}},
		{"leaver-empty", bureauFrame, leaverPage{Person: people()[4], Form: Form{Action: "/people/0012/leave"}, Ends: []Text{say("leaver.ends.sessions", 0)}}},
		{"policy", bureauFrame, policyPage{Version: 2, State: "in-force", From: ago(40 * day), Digest: digest, Words: sixWords, Roles: []string{"nodal-officer", "data-preparation", "key-manager", "hsm-administrator", "security-officer", "witness"}, Matrix: []ActRule{
			{"order.release", "6.4.0", day, 15 * time.Minute, 2, "order.released", []string{"", "ask", "sign", "", "sign", ""}}, {"order.destroy", "6.4.e.viii", day, 15 * time.Minute, 3, "order.destruction-begun", []string{"", "", "ask", "sign", "sign", "sign"}}, {"key.accept", "6.4.e.v", day, 15 * time.Minute, 2, "key.accepted", []string{"", "", "both", "sign", "sign", ""}}, {"stock.count", "4.5b", time.Hour, time.Minute, 1, "stock.counted", []string{"", "", "", "", "sign", ""}}},
			Excludes: []Pair{{"key-manager", "key-custodian"}, {"key-manager", "security-officer"}, {"witness", "key-manager"}}, Levels: []Escalation{{1, 4 * time.Hour, []string{"security-officer"}}, {2, 12 * time.Hour, []string{"security-officer", "auditor"}}}, Versions: []PolicyVersion{{2, "in-force", ago(40 * day), []Who{keyManager, security}, "/policy/2", "/policy/1..2"}, {1, "former", ago(400 * day), []Who{security}, "/policy/1", ""}}, Document: "/policy/2.yaml", JSON: "/policy/2.json", Change: "/policy/new", Nodal: say("policy.nodal.either"), Needs: []RoleNeed{{"key-custodian", "6.4.b", []Text{say("employment.permanent"), say("policy.needs.training", "key-custodian"), say("policy.needs.statement", "custodian")}}}, May: []Permission{{"keys.read", []string{"key-manager", "auditor", "socket"}}, {"stock.read", []string{"auditor"}}}, Keys: []KeyRule{{say("purpose.order"), plain("AES-256"), say("key.rotate.never"), false}, {say("purpose.ledger"), plain("HMAC-SHA-256"), say("days", 730), true}}, Limits: []Fact{{say("limit.tries"), say("limit.tries.value", 5, 15*time.Minute)}}, Periods: []Fact{{say("period.inventory"), say("days", 92)}}}},
		{"policy-draft", bureauFrame, policyDraftPage{Version: 3, Form: Form{Action: "/policy/new", Values: map[string]string{"policy": "version: 3\n"}}, Checked: true, Editor: keyManager, Words: sixWords, Digest: digest, Changes: []PolicyChange{{"changed", plain("acts / order.destroy / to_use"), plain("3600"), plain("900")}}, Ask: "/acts/new?kind=policy.adopt&subject=policy"}},
		{"policy-draft-others", bureauFrame, policyDraftPage{Version: 3, Form: Form{Action: "/policy/new"}, Checked: true, Words: sixWords, Digest: digest}},
		{"policy-draft-errors", bureauFrame, policyDraftPage{Version: 3, Form: Form{Action: "/policy/new", Values: map[string]string{"policy": "version: x\n"}}, Checked: true, Findings: []Finding{{State: "error", Line: 1, Column: 10, Text: plain("found x, want a whole number")}}}},
		{"policy-empty", bureauFrame, policyPage{Version: 1, State: "in-force", From: ago(day), Digest: digest, Words: sixWords, Document: "/policy/1.yaml", JSON: "/policy/1.json", Nodal: say("policy.nodal.both")}},
		{"policy-diff", bureauFrame, policyDiffPage{1, 2, []PolicyChange{{"changed", plain("order.destroy: to use"), plain("1 h"), plain("15 min")}, {"added", plain("conflict witness, HSM administrator"), Text{}, say("part.both")}, {"removed", plain("role visitor"), say("part.ask"), Text{}}}, []DiffLine{{" ", "conflicts:"}, {"-", "  - [witness, key-manager]"}, {"+", "  - [witness, hsm-administrator]"}}}},
		{"policy-diff-empty", bureauFrame, policyDiffPage{Old: 2, New: 2}},
		{"line", plantFrame, linePage{
			Batches:  []BatchLine{{Order: "op1-926e39303702", Href: "/line/x", Bureau: "bureau-north", State: "running", Good: 61248, Cards: 100000, Percent: 61, Since: ago(5 * time.Hour)}, {Order: "op1-4d2f00aa1c55", Href: "/line/y", Bureau: "bureau-north", State: "closed", Since: ago(9 * day)}},
			Stations: []StationLine{{"st-1", "present", 4, "1.4.0", ago(5 * time.Hour)}, {"st-2", "away", 4, "1.4.0", ago(2 * time.Minute)}}}},
		{"line-empty", plantFrame, linePage{}},
		{"line-batch", plantFrame, batchAtWork()},
		{"line-batch-empty", plantFrame, batchPage{Order: "op1-4d2f00aa1c55", Bureau: "bureau-north", State: "closed", Href: "/line/y"}},
		{"line-cards", plantFrame, cardsPage{Order: "op1-926e39303702", Form: Form{Action: "/line/x/cards"}, States: states, Next: "/line/x/cards?from=100", Rows: chipsOfACard()}},
		{"line-cards-empty", plantFrame, cardsPage{Order: "op1-926e39303702", Form: Form{Action: "/line/x/cards"}, States: states}},
		{"line-card", plantFrame, cardPage{Order: "op1-926e39303702", Back: "/line/x", Card: 4711, Chips: chipsOfACard(), Facts: []Fact{{say("line.os"), plain("ankan-reference 1.0")}, {say("line.profile"), plain("in-5g-usim 1.0")}},
			Files: []FileLine{{"MF", "3F00", plain(""), nil, false, ""}, {"MF/EF.ICCID", "2FE2", say("line.bytes", 10), []string{"ICCID"}, true, ""}, {"MF/ADF.USIM/EF.ARR", "6F06", say("line.records", 6, 33), nil, true, ""}, {"MF/ADF.USIM/EF.Keys", "6F08", say("line.bytes", 33), nil, false, "nobody may read it"}}, Keys: []string{"K", "PIN1", "PUK1", "ADM1"}}},
		{"line-card-empty", plantFrame, cardPage{Order: "op1-926e39303702", Back: "/line/x", Card: 99999}},
		{"profiles", bureauFrame, profilesPage{Profiles: []ProfileLine{fixtureProfile, {Name: "op1-broken", Version: "2", Href: "/profiles/op1-broken", Operator: "Operator One, 001 01", Files: 3, Findings: 2, Source: say("profiles.of-program")}},
			Form: Form{Action: "/profiles"}, A: []Option{{"a", plain("a 1"), true}, {"b", plain("b 2"), false}}, B: []Option{{"a", plain("a 1"), false}, {"b", plain("b 2"), true}}}},
		{"profile", bureauFrame, fixtureProfilePage()},
		{"profile-broken", bureauFrame, profilePage{Profile: fixtureProfile, Digest: digest, Findings: []ProfileFinding{{"op1.yaml:41:7", "MF/ADF.USIM/EF.AD: mnc-length is 3, the operator's network code 99 has 2 digits", "TS 31.102, 4.2.18"}}, Root: ProfileFile{Name: "MF", ID: "3F00", Kind: "MF", Directory: true, Rule: "dir"}}},
		{"profile-diff", bureauFrame, profileDiffPage{fixtureProfile, fixtureProfile, []ProfileChange{{"changed", "", "version", "13", "14"}, {"added", "MF/ADF.ISIM/EF.IMPI", "", "", "transparent 6F02, 64 bytes, access pin1-adm1"}, {"removed", "MF/ADF.USIM/EF.FDN", "", "linear fixed 6F3B, 10 x 28 bytes", ""}}}},
		{"profile-diff-none", bureauFrame, profileDiffPage{A: fixtureProfile, B: fixtureProfile}},
		{"hsm", bureauFrame, hsmPage{Model: "Network module, series 7", Serial: "4407-1182", Firmware: "7.8.4", Slot: "0, ankan-bureau", Certified: true, Certificate: "FIPS 140-3 level 3, certificate 4720", State: "healthy", Asked: noon, Took: 4 * time.Millisecond, Keys: 212, States: []KeyCount{{State: "active", Count: 210, Href: "/keys?state=active"}, {State: "making", Count: 2, Href: "/keys?state=making"}}, Purposes: []KeyCount{{Purpose: say("purpose.order"), Count: 212, Href: "/keys?purpose=order"}}}},
		{"hsm-degraded", bureauFrame, hsmPage{Model: "Ankan soft token", Certificate: "not certified", State: "degraded", Asked: noon, Keys: 3, Missing: []Touch{{"key/OP1-AUC-03", "/keys/OP1-AUC-03"}}, Unknown: []Touch{{"key/x", "/keys/x"}}}},
		{"hsm-down", bureauFrame, hsmPage{Model: "Ankan soft token", Certificate: "not certified", State: "down", Problem: "the token's file is gone", Asked: noon}},
		{"keys", bureauFrame, keysPage{Form: filter, States: states, Purposes: states, Partners: states, Keys: []KeyLine{keyLine(), {"OP2-AUC-07", "/keys/OP2-AUC-07", plain("transport to AuC"), "AES-256", "Operator Two", "pre-active", false, KCV{}, time.Time{}, say("key.waiver.until", "2027-03-31")}, {"OP1-AUC-02", "/keys/OP1-AUC-02", plain("transport to AuC"), "AES-128", "Operator One", "destroyed", false, kcvOf("77AA10"), time.Time{}, Text{}}, {"OP3-KEK-01", "/keys/OP3-KEK-01", plain("key encryption"), "Ed25519", "Operator Three", "active", true, KCV{Method: noKCV}, ago(day), Text{}}}, Pager: pager, Plan: "/ceremonies/new", Export: "/keys.csv", Reports: 1}},
		{"keys-empty", bureauFrame, keysPage{Form: Form{Action: "/keys"}, States: states, Purposes: states, Partners: states, Export: "/keys.csv"}},
		{"keys-first", bureauFrame, keysPage{Form: Form{Action: "/keys"}, States: states, Purposes: states, Partners: states, Export: "/keys.csv", Plan: "/ceremonies/new"}},
		{"compromises", bureauFrame, compromisesPage{[]KeyReport{*key.Report}}},
		{"compromises-empty", bureauFrame, compromisesPage{}},
		{"key", bureauFrame, key},
		{"key-pair", bureauFrame, pair},
		{"key-empty", bureauFrame, keyPage{Key: KeyLine{"OP9-X-01", "/keys/OP9-X-01", say("purpose.exchange"), "AES-256", "", "pre-active", false, KCV{}, time.Time{}, Text{}}, Sub: say("purpose.exchange.sub"), Extract: say("extract.gone"), Compare: Form{Action: "/keys/OP9-X-01"}, Methods: states, Unsure: true, History: "/papers/history/OP9-X-01"}},
		{"register", bureauFrame, registerPage{Form: Form{Action: "/register"}, Kinds: states, States: states, Items: []ItemLine{locker, inHand}, Pager: Pager{1, 2, 2, "", ""}, Racks: []RackOpening{{"R1", ago(4 * time.Hour), time.Time{}, []Who{keyManager, hsmAdmin}, "ceremony/CER-0119", "/acts/new?kind=rack.close"}, {"R1", ago(90 * time.Hour), ago(89 * time.Hour), []Who{keyManager, hsmAdmin}, "firmware", ""}}, Dues: []Due{over, count}, Findings: []RegisterFinding{{Touch{"item/physical-key/K-17", "/items/physical-key/K-17"}, "a count did not find it", ago(2 * day)}}, Mine: "/custody/0031", New: "/register/new", Open: "/acts/new?kind=rack.open"}},
		{"register-empty", bureauFrame, registerPage{Form: Form{Action: "/register"}, Kinds: states, States: states}},
		{"item", bureauFrame, itemPage{Item: inHand, Form: &Form{Action: "/items/physical-key/K-17", Values: map[string]string{"holder": "0021", "place": "item/locker/L7"}}, Retire: &Form{Action: "/items/physical-key/K-17"}, Life: steps()}},
		{"item-new", bureauFrame, itemPage{New: true, Kinds: states, Form: &Form{Action: "/register/new", Problem: &problem}}},
		{"holdings", bureauFrame, holdingsPage{Paper: "/custody/0021/inventory.pdf", Who: custodianA, Things: held, Due: &count, Counts: []CountLine{{ago(91 * day), security, 2, 1, "/acts/1", "/custody/0021/inventory.pdf?act=1"}}, Transfers: []TransferOfThings{{"CT-000014", "/handover/CT-000014", custodianA, custodianB, 2, ago(day), time.Time{}}}, Count: "/register/inventory", HandOver: "/handover"}},
		{"holdings-empty", bureauFrame, holdingsPage{Paper: "/custody/0031/inventory.pdf", Who: custodianB, Due: &over}},
		{"inventory", bureauFrame, inventoryPage{custodianA, ahead(6 * day), Form{Action: "/register/inventory", Problem: &problem}, held, ago(91 * day)}},
		{"inventory-empty", bureauFrame, inventoryPage{Custodian: custodianB, Form: Form{Action: "/register/inventory"}}},
		{"custody-new", bureauFrame, custodyPage{Step: "choose", From: custodianA, Things: held, Candid: candidates, Ask: problemForm}},
		{"custody-empty", bureauFrame, custodyPage{Step: "choose", From: custodianA, Ask: Form{Action: "/handover"}}},
		{"custody-seal", bureauFrame, custodyPage{Step: "seal", From: custodianA, To: custodianB, Part: "copy/share/1/CER-0104/OP1-AUC-03", N: 1, Of: 2, Bring: &Bring{Action: "/handover/part", Given: "{}"}}},
		{"custody", bureauFrame, custodyPage{Step: "ready", Number: "CT-000014", From: custodianA, To: custodianB, Things: held, Shows: []Show{{Open: "{}", Seconds: 60, Share: true, Check: "0011223344556677"}, {Open: "{}", Seconds: 60, Method: "GP", KCV: &KCV{"4F19A2", "GP"}}}}},
		{"custody-asker", bureauFrame, custodyPage{Step: "ready", Number: "CT-000014", From: custodianA, To: custodianB, Things: held, Act: "/acts/new?kind=custody.transfer"}},
		{"custody-done", bureauFrame, custodyPage{Step: "ready", Number: "CT-000014", From: custodianA, To: custodianB, Things: held, Done: ago(day), DoneUnder: "/acts/1"}},
		{"transfers", bureauFrame, transfersPage{Form: Form{Action: "/transfers"}, States: states, Transfers: []TransferLine{{"KTF-000871", "/forms/operator-two/KTF-000871", "OP2-AUC-07", say("form.component", 2, 2), say("form.who", "0105", "operator-two"), say("form.who", "0032", "bureau-north"), "TE-51221", "announced", ago(50 * time.Hour)}, {"KTF-000802", "/forms/bureau-north/KTF-000802", "OP1-AUC-03", say("form.component", 1, 2), say("form.who", "0031", "bureau-north"), say("form.who", "0105", "operator-one"), "TE-40390", "tampered", ago(146 * day)}}, Pager: pager, New: "/transfers/new"}},
		{"transfers-empty", bureauFrame, transfersPage{Form: Form{Action: "/transfers"}, States: states}},
		{"transfer-new", bureauFrame, transferNewPage{Form{Action: "/transfers/new", Problem: &problem}}},
		{"transfer", bureauFrame, transfer},
		{"transfer-tampered", bureauFrame, done},
		{"ceremonies", bureauFrame, ceremoniesPage{Form: Form{Action: "/ceremonies"}, States: states, Ceremonies: []CeremonyLine{{"CER-0119", "Load key OP2-AUC-07 in two components", "/ceremonies/CER-0119", "running", ago(time.Hour), 8, 13, []Seat{signedBy(keyManager, ago(day), ""), signedBy(custodianA, ago(day), ""), openFor(false, "witness")}, "OP2-AUC-07", 1, ""}, {"CER-0104", "Make OP1-AUC-03", "/ceremonies/CER-0104", "done", ago(146 * day), 0, 0, []Seat{signedBy(keyManager, ago(day), "")}, "OP1-AUC-03", 0, "/ceremonies/CER-0104/transcript"}, {"CER-0120", "Rotate OP1-OTA-03", "/ceremonies/CER-0120", "planned", ahead(day), 0, 9, nil, "OP1-OTA-03", 0, ""}}, Pager: pager, New: "/ceremonies/new"}},
		{"ceremonies-empty", bureauFrame, ceremoniesPage{Form: Form{Action: "/ceremonies"}, States: states}},
		{"ceremony-new", bureauFrame, ceremonyNewPage{Form: Form{Action: "/ceremonies/new"}}},
		{"ceremony-new-errors", bureauFrame, ceremonyNewPage{Form: Form{Action: "/ceremonies/new", Values: map[string]string{"plan": "ceremony: load\nkey: OP2-AUC-07\npeople:\n  A: 0031\n  B: 0031\n"}}, Checked: true, Findings: []Finding{{"error", 5, 6, plain("person 0031 is custodian A and B; two people are needed"), "6.4.e.ii"}, {"warning", 0, 0, plain("no witness is named"), ""}, {"advice", 2, 6, plain("OP2-AUC-06 stays active until step 13"), ""}}}},
		{"ceremony-new-ready", bureauFrame, ceremonyNewPage{Form: Form{Action: "/ceremonies/new", Values: map[string]string{"plan": "ceremony: load\nkey: OP2-AUC-07\n"}}, Checked: true, Title: "Load key OP2-AUC-07 in two components", Words: sixWords, Digest: digest, Steps: ceremonySteps(1), People: []Seat{openFor(false, "key-manager"), openFor(false, "hsm-administrator")}, Ask: &Form{Action: "/ceremonies", Sign: sign}}},
		{"ceremony-mine", bureauFrame, step8},
		{"ceremony-bring", bureauFrame, bring},
		{"ceremony-other", bureauFrame, other},
		{"ceremony-checks", bureauFrame, checks},
		{"ceremony-watched", bureauFrame, watched},
		{"ceremony-paused", bureauFrame, paused},
		{"transcript", bureauFrame, transcriptPage{Number: "CER-0104", Title: "Make OP1-AUC-03", Site: "Bureau North", State: "done", Began: ago(146 * day), Ended: ago(146*day - 90*time.Minute), Words: sixWords, Digest: digest, People: []Seat{signedBy(keyManager, ago(146*day), ""), signedBy(hsmAdmin, ago(146*day), ""), openFor(false, "witness")}, Steps: []TranscriptStep{{1, plain("Check room, cameras, clock"), []Who{keyManager, hsmAdmin}, ago(146 * day), 7 * time.Minute, []Text{plain("Clock differs by 40 ms from the time server")}, 990011}, {2, plain("Prove who is here"), []Who{keyManager}, ago(146 * day), 4*time.Minute + 10*time.Second, nil, 990012}}, Deviations: []Deviation{{ago(146 * day), 2, hsmAdmin, "Came 5 minutes late."}}, Results: []Fact{{say("key"), plain("OP1-AUC-03")}, {say("kcv"), plain("4F19A2 GP")}}, First: 990010, Last: 990042, Root: digest}},
		{"transcript-empty", bureauFrame, transcriptPage{Number: "CER-0105", Title: "Aborted", State: "aborted", Digest: digest, Root: digest}},
		{"releases", bureauFrame, releasesPage{[]ReleaseLine{{"ankan-reference 1.0", "/releases/x", "Software Chips", "IN", digest, "approved", []IntegrationLine{approvedIn, withdrawnIn}}, {"ankan-reference 1.1", "/releases/y", `<b>"Vendor'`, "DE", digest, "drafted", nil}}, "/releases/new"}},
		{"releases-empty", bureauFrame, releasesPage{}},
		{"release", bureauFrame, releasePage{"ankan-reference 1.0", "approved", releaseFacts, []IntegrationLine{approvedIn, withdrawnIn}, steps(), "", "/releases/x/integrate"}},
		{"release-draft", bureauFrame, releasePage{"ankan-reference 1.1", "drafted", releaseFacts, nil, nil, "/acts/new?kind=release.register", ""}},
		{"release-new", bureauFrame, releaseNewPage{Form: Form{Action: "/releases/new", Problem: &problem}}},
		{"release-integrate", bureauFrame, releaseNewPage{"ankan-reference 1.0", "/releases/x", Form{Action: "/releases/x/integrate"}}},
		{"standing", bureauFrame, standing},
		{"standing-new", bureauFrame, standingPage{Name: "ankan-reference 1.1", Href: "/releases/y", Operator: "operator-one", Profile: "in-5g-usim", State: "integrated", Facts: releaseFacts, Groups: standing.Groups, Open: 26, Makers: []string{"A. Writer"}, Seats: standing.Seats}},
		{"log", bureauFrame, logPage{Form: Form{Action: "/log", Values: map[string]string{"from": "2026-11-19T14:20"}}, Kinds: kinds, Entries: logLines(), Older: "/log?before=1204863", Newer: "/log", Looked: 3, Checkpoint: checkpoint(), JSON: "/log.jsonl", CSV: "/log.csv"}},
		{"log-rest", bureauFrame, logPage{Form: Form{Action: "/log", Errors: map[string]Text{"from": say("log.time.bad")}}, Kinds: kinds, Looked: 20000, Rest: "/log?before=1184883", Checkpoint: checkpoint(), JSON: "/log.jsonl", CSV: "/log.csv"}},
		{"log-empty", bureauFrame, logPage{Form: Form{Action: "/log"}, Kinds: kinds, Checkpoint: checkpoint(), JSON: "/log.jsonl", CSV: "/log.csv"}},
		{"entry", bureauFrame, entryPage{Entry: logLines()[1], Leaf: `{"seq":1204882,"kind":"custody.signed","actor":"person:0021","subject":"act/6b1f90c4","data":{"verb":"approve"}}`, LeafHash: digest, Path: []string{digest, digest}, Checkpoint: checkpoint(), Proof: "/log/1204882/proof", Key: "bureau-north.example/log+4Jb0x+Qk", Fields: []Field{{"verb", "approve"}, {"why", "a\u202eb"}}, Links: []Touch{{"person/0021", "/people/0021"}}, Act: &waiting()[1], Older: "/log/1204881", Newer: "/log/1204883"}},
		{"search", bureauFrame, searchPage{Query: "OP1", Found: []FoundGroup{{"keys", []Found{{"OP1-AUC-03", plain("transport to AuC, Operator One"), "active", "/keys/OP1-AUC-03"}}}, {"acts", []Found{{"OP1-2611-0042", plain("Release order"), "waits", "/acts/6b1f90c4"}}}, {"orders", []Found{{"OP1-2611-0042", say("search.order", "operator-one", 250000, "released"), "", ""}}}}, Total: 3, More: true}},
		{"search-identity", bureauFrame, searchPage{Query: "8999•••••••••••••42", Identity: true}},
		{"search-short", bureauFrame, searchPage{Query: "x", Short: true}},
		{"search-empty", bureauFrame, searchPage{Query: `<script>"'`}},
		{"stock", bureauFrame, stockPage{Accounts: []AccountBar{{"store", 118000, 100}, {"line", 250, 1}, {"operator", 50000, 42}}, Sums: []SumLine{{"LOT-2026-47", "", 168250, 50000, 118250}, {"", "op-0042", 50250, 50000, 250}}, Postings: []PostingLine{{ago(day), "LOT-2026-47", "op-0042", "store", "line", 250, "issue <b>", "/acts/1"}, {ago(day), "LOT-2026-47", "", "maker", "received", 168250, "delivery note", ""}}, Unbalance: "lot L1: the stock does not balance", Move: "/acts/new?kind=stock.move"}},
		{"stock-empty", bureauFrame, stockPage{}},
		{"lots", bureauFrame, lotsPage{Lots: []LotLine{{"LOT-2026-47", "/lots/LOT-2026-47", "Chip Works", "c1", "4FF", plainly(168250), "accepted"}, {"LOT-2026-48", "/lots/LOT-2026-48", "Chip Works", "c1", "", say("blind"), "offered"}}, Ask: "/acts/new?kind=lot.inspect"}},
		{"lots-empty", bureauFrame, lotsPage{}},
		{"lot", bureauFrame, lotPage{Lot: LotLine{"LOT-2026-48", "/lots/LOT-2026-48", "Chip Works", "c1", "4FF", say("blind"), "offered"}, OS: "os 1.0", KeyMethod: "AES-128/kdf3", KCV: "C35280 GP", ATR: "3B9D96801FC78031A073BE211765414E4B414E97", ATRMask: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00", Certificate: "BSI-DSZ-CC-0000-2026", Serials: []stock.Range{{First: "0000000000000001", Last: "0000000000000009"}}, Provenance: []string{"foundry", "packager"}, Source: "/acts/2", Inspections: []InspectionLine{{ago(day), custodianA, 168250, 80, 1, "visual", "/acts/3"}}, Asks: []AskLine{{"lot.accept", "/acts/new?kind=lot.accept"}, {"lot.inspect", "/acts/new?kind=lot.inspect"}, {"lot.refuse", "/acts/new?kind=lot.refuse"}, {"source.approve", "/acts/new?kind=source.approve"}}}},
		{"lot-bare", bureauFrame, lotPage{Lot: LotLine{"L", "/lots/L", "v", "c", "", plainly(5), "refused"}}},
		{"boxes", bureauFrame, boxesPage{Boxes: []BoxLine{{"BX-1", "op-0042", "P-7", plainly(500), "8991999000001000000", "8991999000001004999", "closed", "S-1", "V1", "/boxes/BX-1/label.pdf", "/boxes/BX-1/label.zpl"}, {"BX-2", "op-0042", "", say("blind"), "8991999000001000000", "8991999000001004999", "open", "", "", "/boxes/BX-2/label.pdf", "/boxes/BX-2/label.zpl"}}, Openings: []VaultOpening{{"V1", ago(time.Hour), time.Time{}, []Who{custodianA, security}, "to ship"}, {"V1", ago(day), ago(day), []Who{custodianA, security}, "to store"}}, Next: "/boxes?after=BX-2", Open: "/acts/new?kind=vault.open"}},
		{"boxes-empty", bureauFrame, boxesPage{}},
		{"shipments", bureauFrame, shipmentsPage{[]ShipmentLine{{"SH-1", "Demo Mobile", "van 4", "T-1", 2, 1000, "drafted", time.Time{}, "", "/shipments/SH-1/form.pdf", "/acts/new?kind=shipment.send", "shipment.send"}, {"SH-2", "Demo Mobile", "van 4", "T-2", 2, 1000, "received", ago(day), "Nodal officer", "/shipments/SH-2/form.pdf", "", ""}, {"SH-3", "Demo Mobile", "van 4", "T-3", 1, 500, "sent", ago(day), "", "/shipments/SH-3/form.pdf", "/acts/new", "shipment.receive"}}}},
		{"shipments-empty", bureauFrame, shipmentsPage{}},
		{"deliveries", bureauFrame, deliveriesPage{[]DeliveryLine{{"SH-1", "/deliveries/plant/SH-1", "plant", "van 4 <b>", "T-1", 2, say("blind"), "announced", ago(day)}, {"SH-2", "/deliveries/plant/SH-2", "plant", "van 4", "T-2", 2, plainly(1000), "answered", ago(day)}, {"SH-3", "/deliveries/plant/SH-3", "plant", "van 4", "T-3", 1, plainly(500), "received", ago(day)}}}},
		{"deliveries-empty", bureauFrame, deliveriesPage{}},
		{"delivery", bureauFrame, deliveryPage{Delivery: DeliveryLine{"SH-1", "/deliveries/plant/SH-1", "plant", "van 4", "T-1", 2, say("blind"), "announced", ago(day)}, Boxes: []DeliveredBox{{Box: "BX-1", Seal: "S-1", Order: "op-0042", Typed: "500", Whole: "whole"}, {Box: "BX-2", Seal: "S-2", Order: "op-0042", Whole: "broken"}}, Whole: "whole", Form: &Form{Action: "/deliveries/plant/SH-1", Problem: &problem}}},
		{"delivery-new", bureauFrame, deliveryPage{Delivery: DeliveryLine{"SH-1", "/deliveries/plant/SH-1", "plant", "van 4", "T-1", 1, say("blind"), "announced", ago(day)}, Boxes: []DeliveredBox{{Box: "BX-1", Seal: "S-1", Order: "op-0042"}}}},
		{"delivery-counted", bureauFrame, deliveryPage{Delivery: DeliveryLine{"SH-2", "/deliveries/plant/SH-2", "plant", "van 4", "T-2", 2, plainly(1000), "answered", ago(day)}, Counted: true, Boxes: []DeliveredBox{{Box: "BX-1", Seal: "S-1", Order: "op-0042", First: "8991000000000000018", Last: "8991000000000000026", Cards: 500, Found: 499, Whole: "broken"}, {Box: "BX-2", Seal: "S-2", Order: "op-0042", First: "8991000000000000034", Last: "8991000000000000042", Cards: 500, Found: 500, Whole: "whole"}}, Whole: "broken", Href: "/acts/1", Paper: "/deliveries/plant/SH-2/form.pdf"}},
		{"ledger", bureauFrame, ledgerPage{Form: Form{Action: "/ledger"}}},
		{"ledger-found", bureauFrame, ledgerPage{Form: Form{Action: "/ledger"}, Asked: true, Number: "8991•••••••••••••04", Hold: "issued", Order: "operator-926e39303702", Operator: "operator-one", Since: ago(90 * day)}},
		{"ledger-free", bureauFrame, ledgerPage{Form: Form{Action: "/ledger", Problem: &problem}, Asked: true, Number: "4049•••••••••00"}},
		{"discrepancies", bureauFrame, discrepanciesPage{Lines: []DiscrepancyLine{{2, "count/store/LOT-2026-47/-", 500, 499, "open", ago(time.Hour), custodianA, "", "/acts/new?kind=discrepancy.explain", "discrepancy.explain"}, {1, "box/BX-1", 500, 498, "explained", ago(day), custodianA, "two lay beside it", "", ""}}, Figures: true, Count: &Form{Action: "/discrepancies/count", Problem: &problem}, Accounts: states}},
		{"discrepancies-blind", bureauFrame, discrepanciesPage{Lines: []DiscrepancyLine{{1, "vault/V1", 0, 0, "closed", ago(day), custodianA, "an empty box", "", ""}}}},
		{"discrepancies-empty", bureauFrame, discrepanciesPage{}},
		{"sessions", bureauFrame, sessionsPage{sessions(), passkeys(), "/lock"}},
		{"sessions-empty", bureauFrame, sessionsPage{Lock: "/lock"}},
		{"glass", bureauFrame, glassPage{Form: Form{Action: "/glass"}, Told: []Who{security, keyManager}, Past: []GlassUse{{ago(90 * day), ago(90*day - time.Hour), security, "Rack 2 without power", ago(88 * day), "/glass/3"}, {ago(9 * day), ago(9*day - time.Hour), hsmAdmin, "Module did not start", time.Time{}, "/glass/4"}}}},
		{"glass-review", bureauFrame, glassPage{Form: Form{Action: "/glass"}, Review: &review}},
		{"glass-open", glassFrame, glassPage{Open: found, Done: logLines(), Close: &Form{Action: "/glass/close"}}},
		{"error-404", bureauFrame, errorPage{Status: 404}},
		{"error-500", gateFrame, errorPage{Status: 500, Reference: "K7Q2AAB3"}},
		{"error-418", bureauFrame, errorPage{Status: 418}},
	}
}

func plantFrame() Frame {
	f := bureauFrame()
	f.Site.Name, f.Site.Roles = "Plant West", []string{"plant"}
	f.Me = &Me{Person: "2001", Roles: []string{"shift-lead"}, Proved: []string{"certificate", "passkey"}}
	f.Nav = append([]NavItem{{Key: "line", Href: "/line"}}, f.Nav...)
	return f
}

func chipsOfACard() []CardLine {
	return []CardLine{
		{Card: 4711, Href: "/line/x/cards/4711", Chip: "6327000003ef0047", State: "destroyed", Station: "st-1/2", Tries: 3, Reason: say("reason.no answer"), At: ago(4 * time.Hour)},
		{Card: 4711, Href: "/line/x/cards/4711", Chip: "6327000004aa0047", State: "good", Station: "st-1/1", Tries: 1, At: ago(time.Hour)},
		{Card: 4712, Href: "/line/x/cards/4712", Chip: "6327000004ab0047", State: "doubt", Station: "st-2/1", At: ago(2 * time.Minute)},
	}
}

func batchAtWork() batchPage {
	p := batchPage{Order: "op1-926e39303702", Bureau: "bureau-north", OS: "ankan-reference 1.0", Profile: "in-5g-usim", State: "running", Waiting: "order op1-926e39303702: rejected chips wait for their destruction to be signed; there are 3",
		Started: ago(5 * time.Hour), Href: "/line/x", Ask: "/acts/new?kind=chip.destroy",
		Figures: []Figure{{say("line.hour"), plainly(14180), say("line.hour.note", 4)}, {say("line.eta"), plainly(160 * time.Minute), Text{}}, {say("line.yield"), plain("99.25 %"), say("line.yield.note", 464, 61712)},
			{say("line.each"), plain("0.92 s"), say("line.each.note")}, {say("line.wire"), plain("0.85"), say("line.wire.note", 5220, 6152)}, {say("line.floor"), plain("0.21 s"), say("line.floor.note")}},
		Stations:  []StationPace{{"st-1/1", "running", "", "0.90 s", 30100, 2}, {"st-1/2", "running", "is-warn", "1.40 s", 12000, 460}, {"st-2/1", "away", "is-off", "0.91 s", 19148, 2}, {"drawer-1", "paused", "is-hold", "0.02 s", 0, 0}},
		Abandoned: "the artwork is not agreed",
		Doubts:    []DoubtLine{{"6327000004ab0047", "st-2/1", "/line/x/cards/4712", 4712, ago(2 * time.Minute)}}}
	p.count(perso.Counts{Cards: 100000, Good: 61248, Doubt: 1, Reject: 3, Destroyed: 461, Aside: 12, Remade: 400, Waiting: 38748})
	for _, c := range []struct {
		reason string
		n, so  int
		aside  bool
	}{{"no answer", 214, 45, false}, {"status", 180, 83, false}, {"late answer", 70, 97, false}, {"wrong lot", 12, 100, true}} {
		p.CauseRows = append(p.CauseRows, CauseRow{say("reason." + c.reason), c.n, c.so, c.aside})
	}
	p.Causes = newChart(say("line.causes"), []int{214, 180, 70, 12}, []string{"1", "2", "3", "4"}, true)
	made := []int{4180, 12400, 13900, 14100, 14180, 2488}
	names := []string{"09:00", "10:00", "11:00", "12:00", "13:00", "14:00"}
	for i, n := range made {
		p.HourRows = append(p.HourRows, HourRow{ago(time.Duration(6-i) * time.Hour), n, 77})
	}
	p.Hours = newChart(say("line.hours"), made, names, false)
	return p
}

// restoringOf is a restore to which some custodians came.
func restoringOf(step string, came int) restoringPage {
	p := restoringPage{Step: step, Form: Form{Action: "/"}, Given: "{}", Set: "cards/20261118T203000Z/3F6TQ2ZK", Made: ago(17 * time.Hour), Words: sixWords, Digest: digest,
		Came: came, Threshold: 3, Percent: 33 * came, Rows: 180000, Of: 412000, Keepers: []KeeperLine{
			{"0021", "Asha Rao", true, "away", Text{}}, {"0022", "Vikram Iyer", false, "away", Text{}}, {"0023", "Meera Nair", false, "received", Text{}},
			{"0024", "Joseph Thomas", false, "away", say("restoring.file")}, {"0025", "Farah Khan", false, "away", say("restoring.bound", "old.bureau-north.example")}}}
	if step != "open" {
		p.Keepers[0].State = "received"
	}
	if step == "restores" {
		p.Percent = 43
	}
	return p
}
