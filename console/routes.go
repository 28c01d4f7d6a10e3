package console

import "ankan/passkey/attest"

type attestParty = attest.Party

// routes is every address of the console, with what opens it. It is the
// document that the policy is compared with.
func routes() []route {
	return []route{
		{"GET /{$}", own, func(_ *Server, v *visit) error { return v.redirect("/inbox") }},
		// The door.
		{"GET /sign-in", door, (*Server).getSignIn},
		{"POST /sign-in", door, (*Server).postSignIn},
		{"POST /sign-in/{attempt}", door, (*Server).postSecond},
		{"GET /enrol", door, (*Server).getEnrol},
		{"POST /enrol", door, (*Server).postEnrol},
		{"POST /sign-out", own, (*Server).postSignOut},
		{"GET /sessions", own, (*Server).getSessions},
		{"POST /sessions/{id}/end", own, (*Server).postEndSession},
		{"GET /lock", own, (*Server).getSessions},
		{"POST /lock", own, (*Server).postLock},
		// Acts.
		{"GET /inbox", own, (*Server).getInbox},
		{"GET /notices", own, (*Server).getNotices},
		{"POST /notices/read", own, (*Server).postNoticesRead},
		{"GET /acts", "acts.read", (*Server).getActs},
		{"GET /acts/new", own, (*Server).getAsk},
		{"POST /asked/{id}", own, (*Server).postAsk},
		{"GET /acts/{id}", own, (*Server).getAct},
		{"GET /acts/{id}/bytes", own, (*Server).getActBytes},
		{"POST /acts/{id}/approve", own, (*Server).postApprove},
		{"POST /acts/{id}/reject", own, (*Server).postReject},
		{"POST /acts/{id}/use", own, (*Server).postUse},
		// People.
		{"GET /people", "people.read", (*Server).getPeople},
		{"GET /people/new", "people.draft", (*Server).getPersonNew},
		{"POST /people/new", "people.draft", (*Server).postPersonNew},
		{"GET /people/{id}", "people.read", (*Server).getPerson},
		{"GET /people/{id}/change", "people.draft", (*Server).getPersonChange},
		{"POST /people/{id}/change", "people.draft", (*Server).postPersonChange},
		{"GET /people/{id}/leave", "people.draft", (*Server).getLeaver},
		{"POST /people/{id}/leave", "people.draft", (*Server).postLeaver},
		{"GET /glass", own, (*Server).getGlass},
		{"POST /glass", "alarms.open", (*Server).postGlass},
		// Ceremonies.
		{"GET /ceremonies", "ceremonies.read", (*Server).getCeremonies},
		{"GET /ceremonies/new", "ceremonies.draft", (*Server).getCeremonyNew},
		{"POST /ceremonies/new", "ceremonies.draft", (*Server).postCeremonyNew},
		{"GET /ceremonies/{id}", "ceremonies.read", (*Server).getCeremony},
		{"POST /ceremonies/{id}/deviation", "ceremonies.read", (*Server).postDeviation},
		{"POST /ceremonies/{id}/break", "ceremonies.read", (*Server).postBreak},
		{"POST /ceremonies/{id}/abort", "ceremonies.read", (*Server).postAbort},
		{"POST /ceremonies/{id}/{step}/begin", "ceremonies.read", (*Server).postBegin},
		{"POST /ceremonies/{id}/{step}/give", "ceremonies.read", (*Server).postGive},
		{"GET /ceremonies/{id}/transcript", "ceremonies.read", (*Server).getTranscript},
		{"GET /ceremonies/{id}/transcript.json", "ceremonies.read", (*Server).getTranscriptSigned},
		{"GET /ceremonies/{id}/plan.pdf", "ceremonies.read", (*Server).getPlanPDF},
		{"GET /ceremonies/{id}/transcript.pdf", "ceremonies.read", (*Server).getTranscriptPDF},
		{"GET /ceremonies/{id}/destruction.pdf", "ceremonies.read", (*Server).getDestructionPDF},
		{"GET /policy.pdf", "policy.read", (*Server).getPolicyPDF},
		{"GET /papers/history/{id...}", "keys.read", (*Server).getHistoryPDF},
		{"GET /papers/compromise/{id...}", "keys.read", (*Server).getCompromisePDF},
		{"GET /ceremonies/{id}/wrapped", "ceremonies.read", (*Server).getWrapped},
		// What the site holds, by which rules, and what it did.
		{"GET /search", own, (*Server).getSearch},
		{"GET /keys", "keys.read", (*Server).getKeys},
		{"GET /keys.csv", "keys.read", (*Server).getKeysCSV},
		{"GET /keys/{id...}", "keys.read", (*Server).getKey},
		{"GET /compromises", "keys.read", (*Server).getCompromises},
		{"GET /hsm", "hsm.read", (*Server).getHSM},
		{"GET /policy", "policy.read", (*Server).getPolicy},
		{"GET /policy/{version}", "policy.read", (*Server).getPolicyVersion},
		{"GET /policy/{a}/{b}", "policy.read", (*Server).getPolicyDiff},
		{"GET /policy/new", "policy.draft", (*Server).getPolicyDraft},
		{"POST /policy/new", "policy.draft", (*Server).postPolicyDraft},
		{"GET /log", "log.read", (*Server).getLog},
		{"GET /log.jsonl", "log.read", (*Server).getLogJSON},
		{"GET /log.csv", "log.read", (*Server).getLogCSV},
		{"GET /log/export", "log.read", (*Server).getLogExport},
		{"GET /log/checkpoint", "log.read", (*Server).getCheckpoint},
		{"GET /log/{n}", "log.read", (*Server).getEntry},
		{"GET /log/{n}/proof", "log.read", (*Server).getProof},
	}
}
