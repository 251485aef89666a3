# SPDX-License-Identifier: GPL-2.0-or-later
# For man/expand: first the options of the program, then the page.

# What roff would take for an order or a dash
function roff(s) {
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	sub(/^[.']/, "\\\\\\&&", s)
	return s
}
function sentence(s) { return toupper(substr(s, 1, 1)) substr(s, 2) "." }

function option(row,    f, n) {
	n = split(row, f, "\t")
	printf ".It "
	if (f[4] != "") printf "Fl %s , ", substr(f[4], 2)
	printf "Fl Fl %s", roff(substr(f[3], 3))
	if (f[5] != "") printf " Ar %s", roff(f[5])
	print ""
	print roff(sentence(f[6]))
}
function options(verb,    i) {
	print ".Bl -tag -width Ds -compact"
	for (i = 1; i <= nr_options[verb]; i++) option(options_of[verb, i])
	print ".El"
}
function verbs_list(    i, v) {
	print ".Bl -tag -width Ds"
	for (i = 1; i <= nr_verbs; i++) {
		v = verb[i]
		print ".It Ic " v (nr_options[v] > 1 ? " Oo Ar option ... Oc" : "") (args[v] != "" ? " Ar " roff(args[v]) : "")
		print roff(sentence(summary[v]))
		if (nr_options[v] > 1) {
			print ".Pp"
			options(v)
		}
	}
	print ".El"
}
function table(kind,    i, f) {
	print ".Bl -tag -width promote_hot_bytes_per_sec -compact"
	for (i = 1; i <= nr_rows[kind]; i++) {
		split(rows[kind, i], f, "\t")
		print ".It Ar " roff(f[2])
		print roff(sentence(f[6]))
		if (f[5] != "" && f[5] != "value") print "In JSON", roff(f[5]) "."
	}
	print ".El"
}

# A declaration with the comment above it; text between /* --- and --- is a heading
function functions(    line, comment, declaration, in_comment, skip) {
	while ((getline line < header) > 0) {
		if (line ~ /^#|^extern|^}$/) { comment = ""; continue }
		if (line ~ /^\/\* --- /) {
			sub(/^\/\* --- /, "", line); sub(/ -+ \*\/$/, "", line)
			print ".Ss " toupper(substr(line, 1, 1)) substr(line, 2)
			comment = ""
			continue
		}
		if (line ~ /^\/\*/) { comment = ""; in_comment = 1 }
		if (in_comment) {
			if (line ~ /\*\/ *$/) in_comment = 0
			sub(/ *\*\/ *$/, "", line); sub(/^\/\*+ ?/, "", line); sub(/^ \* ?/, "", line)
			if (line != "") comment = comment (comment == "" ? "" : "\n") line
			continue
		}
		if (line == "") { if (declaration == "") comment = ""; continue }
		if (line ~ /^(struct|typedef) .*\{$/) { skip = 1 }
		if (skip) { if (line ~ /^};/) skip = 0; continue }
		declaration = declaration (declaration == "" ? "" : "\n") line
		if (line !~ /;$/) continue
		print ".Bd -literal -offset 4n"
		gsub(/\\/, "\\e", declaration)
		print declaration
		print ".Ed"
		if (comment != "") {
			print ".Pp"
			n = split(comment, words, "\n")
			for (k = 1; k <= n; k++) { gsub(/[.] +/, ".\n", words[k]); sub(/^[ \t]+/, "", words[k]); if (words[k] != "") print roff(words[k]) }
			comment = ""
		}
		declaration = ""
	}
}

NR == FNR {
	split($0, f, "\t")
	if (f[1] ~ /^[=+]/) { rows[f[1], ++nr_rows[f[1]]] = $0; next }
	if (f[3] == "") {
		verb[++nr_verbs] = f[1]
		args[f[1]] = f[5]
		summary[f[1]] = f[6]
	} else options_of[f[1], ++nr_options[f[1]]] = $0
	next
}
/^@VERBS@$/ { verbs_list(); next }
/^@FUNCTIONS@$/ { functions(); next }
/^@OPTIONS .*@$/ { options(substr($2, 1, length($2) - 1)); next }
/^@SETTINGS .@$/ { table("=" substr($2, 1, 1)); next }
/^@COLUMNS .*@$/ { table("+" substr($2, 1, length($2) - 1)); next }
{ print }
