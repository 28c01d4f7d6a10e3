# An independent reader of the public var_out convention, for tests: the names
# of the columns joined by '/', then one row a card, separated by blanks.
# Prints row.column=value.
{ sub(/\r$/, "") }
names == 0 && tolower($0) ~ /^[ \t]*var_out[ \t]*:/ {
	sub(/^[^:]*:[ \t]*/, "")
	names = split($0, name, "/")
	next
}
names > 0 && NF > 0 {
	if (NF != names) { print "row " rows + 1 " has " NF " cells, want " names; exit 1 }
	rows++
	for (i = 1; i <= NF; i++) print rows "." name[i] "=" $i
}
