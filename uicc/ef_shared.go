package uicc

import "strings"

// What several files hold.
var (
	updateStatus  = choice{{"updated", 0}, {"not-updated", 1}, {"plmn-not-allowed", 2}, {"la-not-allowed", 3}}
	operationMode = choice{{"normal", 0x00}, {"type-approval", 0x80}, {"normal-specific", 0x01},
		{"type-approval-specific", 0x81}, {"maintenance", 0x02}, {"cell-test", 0x04}}
	precedence = bits{"A", "B", "0", "1", "2", "3", "4"}

	diallingAfter = record{{"number", address{size: 12}, "none"}, {"ccp", raw(1), "FF"}, {"ext", raw(1), "FF"}}
	dialling      = Codec{part: elastic{after: diallingAfter, fixed: 14}}
	callAfter     = append(diallingAfter[:3:3], member{"time", raw(7), "FFFFFFFFFFFFFF"}, member{"duration", number(3), "0"})
	callLink      = member{"link", raw(3), "01FFFF"}
	extension     = Codec{part: record{{"type", choice{{"free", 0}, {"subaddress", 1}, {"additional", 2}}, ""},
		{"data", raw(11), strings.Repeat("FF", 11)}, {"next", raw(1), "FF"}}}

	message = record{{"status", choice{{"free", 0}, {"read", 1}, {"unread", 3}, {"sent", 5}, {"to-send", 7}}, ""},
		{"remainder", raw(175), strings.Repeat("FF", 175)}}
	messageStatus     = record{{"reference", raw(1), ""}, {"memory", choice{{"available", 0xFF}, {"exceeded", 0xFE}}, ""}}
	messageParameters = elastic{after: record{{"indicators", raw(1), "FF"}, {"destination", address{size: 12, digits: true}, "none"},
		{"centre", address{size: 12}, "none"}, {"pid", raw(1), "FF"}, {"dcs", raw(1), "FF"}, {"validity", raw(1), "FF"}}, fixed: 28}
	report       = record{{"sms", number(1), ""}, {"report", raw(29), strings.Repeat("FF", 29)}}
	notification = elastic{before: record{{"status", raw(2), ""}, {"implementation", raw(1), ""}},
		name: "notification", middle: func(n int) part { return hexToEnd(n) }, after: record{{"ext", raw(1), "FF"}}, fixed: 4}

	serviceName  = record{{"display", raw(1), ""}, {"name", alpha(16), ""}}
	networkNames = Codec{part: orEmpty{part: objects{0, []object{
		{"full", 0x43, networkName{}}, {"short", 0x45, networkName{}}, {"information", 0x80, raw(0)},
	}}}}
	areas = Codec{part: orEmpty{record{
		{"plmn", plmn{}, ""}, {"first-lac", raw(2), ""}, {"last-lac", raw(2), ""}, {"pnn", number(1), ""},
	}, 8}}
	displayed = Codec{part: orEmpty{part: objects{0xA3, []object{{"plmns", 0x80, repeat{plmn{}, 3}}}}}}

	messageKinds = bits{"voice-mail", "fax", "email", "other", "video-mail"}
	mailboxes    = Codec{part: list{number(1), "\x00"}, pad: "\x00"}
	waiting      = Codec{part: record{{"waiting", messageKinds, ""}, {"counts", list{number(1), "\x00"}, ""}}, pad: "\x00"}
	forwarding   = record{{"msp", number(1), ""}, {"calls", bits{"voice", "fax", "data"}, ""}, {"number", address{size: 12}, "none"},
		{"ccp", raw(1), "FF"}, {"ext", raw(1), "FF"}}
	alerting = record{{"category", raw(1), ""}, {"text", alpha(0), ""}}
	groups   = list{packed(4), "\xFF\xFF\xFF\xFF"}
	scanning = Codec{part: bits{"limited-service", "plmn-selection"}}
	image    = record{{"width", number(1), ""}, {"height", number(1), ""}, {"coding", choice{{"basic", 0x11}, {"colour", 0x21}, {"transparent", 0x22}}, ""},
		{"file", raw(2), ""}, {"offset", number(2), ""}, {"length", number(2), ""}}

	cipherKeys = Codec{part: record{{"ksi", raw(1), ""}, {"ck", raw(16), ""}, {"ik", raw(16), ""}}}
	gsmKey     = Codec{part: record{{"kc", raw(8), ""}, {"cksn", raw(1), ""}}}
	location2g = record{{"tmsi", raw(4), ""}, {"plmn", plmn{}, ""}, {"lac", raw(2), ""}, {"rfu", raw(1), "FF"}, {"status", updateStatus, ""}}
	locationPS = record{{"p-tmsi", raw(4), ""}, {"signature", raw(3), ""}, {"plmn", plmn{}, ""}, {"lac", raw(2), ""}, {"rac", raw(1), ""},
		{"status", updateStatus, ""}}

	networks  = Codec{part: list{plmn{}, "\xFF\xFF\xFF"}}
	selectors = Codec{part: list{plmnAct{}, "\xFF\xFF\xFF\x00\x00"}, pad: "\xFF\xFF\xFF\x00\x00"}
	languages = Codec{part: list{language{}, "\xFF\xFF"}}
	bitmap    = Codec{part: services{}, pad: "\x00"}
	uri       = Codec{part: orEmpty{part: tagged{0x80, text{}}}}
	uriName   = Codec{part: orEmpty{part: objects{0, []object{{"uri", 0x80, text{}}, {"name", 0x81, wholeName{}}}}}}
	address6  = Codec{part: orEmpty{part: tagged{0x80, host{}}}}
	nasConfig = Codec{part: orEmpty{part: objects{0, []object{
		{"signalling-priority", 0x80, raw(1)}, {"nmo-i", 0x81, raw(1)}, {"attach-with-imsi", 0x82, raw(1)},
		{"minimum-search-timer", 0x83, raw(1)}, {"extended-access-barring", 0x84, raw(1)}, {"t3245", 0x85, raw(1)},
		{"override-signalling-priority", 0x86, raw(1)}, {"override-access-barring", 0x87, raw(1)}, {"fast-first-search", 0x88, raw(1)},
		{"e-utra-disabling", 0x89, raw(1)}, {"sm-retry-wait-time", 0x8A, raw(1)}, {"sm-retry-at-rat-change", 0x8B, raw(1)},
		{"default-dcn-id", 0x8C, raw(2)}, {"exception-data", 0x8D, raw(1)},
	}}}}
	nsc5g = Codec{part: orEmpty{part: objects{0xA0, []object{
		{"ngksi", 0x80, raw(1)}, {"kamf", 0x81, raw(32)}, {"uplink", 0x82, raw(4)}, {"downlink", 0x83, raw(4)},
		{"algorithms", 0x84, raw(1)}, {"eps-algorithms", 0x85, raw(1)},
	}}}}
	loci5g = Codec{part: record{
		{"guti", raw(13), ""}, {"plmn", plmn{}, ""}, {"tac", raw(3), ""}, {"status", updateStatus, ""},
	}}
	suci = Codec{part: objects{0, []object{
		{"schemes", 0xA0, list{record{
			{"scheme", choice{{"null", 0}, {"profile-a", 1}, {"profile-b", 2}}, ""}, {"key-index", number(1), ""},
		}, "\xFF\xFF"}},
		{"keys", 0xA1, keyList{}},
	}}}
)

var loci5gInitial = []byte{
	0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1,
}
