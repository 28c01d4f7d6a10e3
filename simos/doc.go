// Package simos is the reference operating system of a UICC, in software: the
// chip that the default line personalises, and the card that it becomes. It
// also has a Rack, which keeps such chips behind a socket, and its Reader.
//
// # What a chip is
//
// A Chip is a uicc.Card. It has no clock and draws nothing from outside: the
// same commands give the same answers. What survives a power loss is one flat
// memory; what does not is a session. All that one command writes stands or
// falls together, whenever the power goes; only the try counters of PINs go
// down on their own, before the comparison.
//
// Over T=0, the default, response data waits for GET RESPONSE (61xx) and a
// wrong Le is told (6Cxx). A chip made with Direct offers T=1 and answers at
// once; its ATR says so.
//
// # Driver "ankan-reference"
//
// Life cycle (data object DF20): 00 blank; 01 OP_READY, has its operating
// system; 07 INITIALIZED, has files; 0F SECURED, is a card; 7F CARD_LOCKED;
// FF TERMINATED.
//
// SCP03 with i = 70 (S8 or S16), pseudo-random challenge, key version 30 from
// the chip maker, AID A000000151000000. INITIALIZE UPDATE needs no SELECT before
// it, in any state but FF. The key diversification data is the serial number
// and 00 00. While a secure channel is open, commands in clear are refused
// (6982) except GET DATA, INITIALIZE UPDATE and GET RESPONSE. A wrong MAC ends
// the channel; so does INITIALIZE UPDATE or a reset.
//
// GET DATA (80 CA P1 P2 00, always allowed in clear) answers BER-TLV, tag
// first:
//
//	9F7F  CPLC, 42 bytes; bytes 10..17 serial number, 18..25 the lot's first
//	      eight characters, filled with 00
//	00E0  key information template
//	0066  card data
//	DF20  life cycle, 1 byte
//	DF21  SHA-256 of the loaded OS image (Image.Digest); 6A88 while blank
//	DF22  lot, ASCII
//
// In the order of a personalisation; all of it inside the secure channel, with
// at least C-MAC:
//
//	LOAD (80 E8, needs C-MAC and C-DEC) P1 = 00 more blocks, 80 the last;
//	    P2 = block number from 00. The blocks together are a signed Image.
//	    Blank chips only (6985). 6982: not the vendor's signature; 6A80: not
//	    an image; 6A86: not the next block; 6A84: longer than 48 KiB. The chip
//	    stays blank unless the last block gives 9000.
//	DELETE FILE (00 E4 00 00 02 3F00) before SECURED: files, authentication
//	    data, PINs, OTA keys and waiting SCP03 keys are gone, the chip is
//	    OP_READY. 9000 also if there was nothing. So the same chip can be tried
//	    again, under the chip maker's keys.
//	CREATE FILE (00 E0 00 00) data = FCP (uicc.FCP.Append). The first is the
//	    MF. What is created is current. ADFs stand under the MF: SELECT 3F00
//	    before the next one. Security is 8B with EF.ARR and record, or absent,
//	    which allows nothing; 8A is absent, 05 or 04; C1 and C2 fill the file,
//	    or each of its records. A BER-TLV file begins empty, without C1 and C2,
//	    and does not grow: A5/86 is absent or the size. No unknown objects (6A80).
//	    An ADF is found by its name only; its identifier is told in its FCP.
//	UPDATE BINARY, UPDATE RECORD, SET DATA, SELECT, READ ... as on a card; access
//	    rules are not asked. A cyclic file also takes absolute updates.
//	STORE DATA (80 E2) P1 = 00 or 80, P2 is not looked at. Data is whole DGIs:
//	    DGI, 2 bytes; length, 1 byte; value. Each command stands by itself.
//	    A001  authentication data of the current application: 01 (MILENAGE), 85
//	          bytes of constants if they are not the standard ones, SealKey(K,
//	          OPc); 02 (TUAK), the bytes of K, MAC, RES, CK and IK, iterations,
//	          SealKey(K, TOPc); 03 (XOR), SealKey(K). 6985 outside an application;
//	          6A80 if the OS image does not list the algorithm.
//	    B0xx  the code with key reference xx: 01..08, 81..88 local to the current
//	          application (or else the MF), 0A..0E and 8A..8E ADM, 11 universal
//	          PIN. Flags (01 enabled), most tries 1..15, most tries of the unblock
//	          code 0..15 (0: there is none), SealKey(code, unblock code), 8 bytes
//	          each: 19 bytes. An ADM is always enabled; a PIN is 4..8 digits
//	          padded with FF.
//	    SealKey is scp.Static's, by the keys that the channel was opened with.
//	PUT KEY (80 D8) P2 = 81, three AES keys (scp.PutKey). Versions 01..0F are
//	    SCP80's KIC, KID, KIK, P1 = 00 or the version. Versions 30..3F are
//	    SCP03's ENC, MAC, DEK, P1 = the version in force; before SECURED they
//	    wait and take effect with SET STATUS, and the chip maker's keys are wiped.
//	    The answer is the version and the three check values.
//	SET STATUS (80 F0 80 0F) the chip is a card now: access rules rule, the MF is
//	    selected at reset, STORE DATA is over. From then on 7F locks, 0F unlocks,
//	    FF ends the card.
//
// Before SECURED and outside the channel no file is read or changed (6982); PINs
// and AUTHENTICATE wait for SECURED (6985).
//
// # The card
//
// SELECT by identifier (P1 00), parent (03), AID or its beginning (04), path from
// the MF (08, which may begin with 7FFF) and from the current DF (09); P2 04
// returns the FCP, 0C nothing. STATUS; READ and UPDATE BINARY; READ, UPDATE and
// SEARCH RECORD; RETRIEVE and SET DATA (80 CB, 80 DB); VERIFY, CHANGE, DISABLE,
// ENABLE and UNBLOCK PIN; AUTHENTICATE with P2 81 and, if EF.UST has service 38, 80 (Kc comes with CK and IK if it
// has service 27); MANAGE CHANNEL 1..3; GET CHALLENGE; CREATE, DELETE, ACTIVATE,
// DEACTIVATE and TERMINATE by the access rules; TERMINAL PROFILE. The card has
// no toolkit: ENVELOPE, FETCH and TERMINAL RESPONSE are 6985.
//
// SET DATA of a tag alone deletes (6A88: there is none); length 0 is an object
// without a value. Blocks before the last are answered 63F1 and change nothing;
// the last one changes the file in one go. Tag 5C is kept for the list of tags,
// which RETRIEVE DATA answers as an object too; what does not fit one answer ends
// with 62F1. SELECT, another EF, a refused block or a new first block on the same
// logical channel ends a transfer, as SET DATA on any channel ends a RETRIEVE DATA
// of that file (6985 to the next block); STATUS and the like do not.
//
// A rule is found through 8B of the file: the EF.ARR with that identifier in the
// file's directory (of a DF, in itself) or else in the ones above.
package simos
