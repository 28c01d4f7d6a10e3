package order

// dialect1 is the older of the two layouts that chip card makers settled on:
// input files end in .inp, responses in .out.
var dialect1 = mustDialect("dialect1", `***************************************
*          HEADER DESCRIPTION
***************************************
Customer:        ${customer}
Quantity:        ${quantity}
Type:            ${profile}
Profile:         ${version}
Batch:           ${batch}
*
Transport_key:   ${transport_key}
Transport_key_KCV: ${transport_kcv>}
*
Address1:        ${address1?}
Address2:        ${address2?}
Address3:        ${address3?}
Address4:        ${address4?}
Address5:        ${address5?}
Address6:        ${address6?}
*
Graph_ref:       ${graph_ref?}
*
PO_ref_number:   ${po}
***************************************
*          INPUT VARIABLES DESCRIPTION
***************************************
Var_In_List: ${input}
IMSI:${imsi}
Ser_nb:${iccid}

OUTPUT VARIABLES
var_out:${columns}
`)

// mustDialect reads the text of a dialect that is part of the program.
func mustDialect(name, text string) *Dialect {
	d, err := newDialect(name, text)
	if err != nil {
		panic(err)
	}
	return d
}
