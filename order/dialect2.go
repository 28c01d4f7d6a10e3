package order

// dialect2 is the layout without addresses. Its public samples carry neither
// a transport key index nor a purchase order; we need the first, because keys
// leave only encrypted, and take the second.
var dialect2 = mustDialect("dialect2", `*HEADER DESCRIPTION
***************************************
Customer        : ${customer}
ProfileType     : ${profile}
Order Date      : ${date}
Batch No        : ${batch}
Quantity        : ${quantity}
Transport_key   : ${transport_key}
Transport_key_KCV: ${transport_kcv>}
PO_ref_number   : ${po?}
***************************************
*INPUT VARIABLES
***************************************
var_In:${input}
ICCID: ${iccid}
IMSI: ${imsi}
***************************************
*OUTPUT VARIABLES
***************************************
var_Out: ${columns}
`)
