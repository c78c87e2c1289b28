package alert_test

import (
	"strings"
	"testing"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func TestParseMatchers(t *testing.T) {
	t.Parallel()
	const refused = "refused"
	for _, c := range []struct{ in, newer, older, either string }{
		{``, `{}`, `{}`, `{}`},
		{`{}`, `{}`, `{}`, `{}`},
		{` { } `, `{}`, refused, `{}`},
		{`a=b`, `{a="b"}`, `{a="b"}`, `{a="b"}`},
		{`{a=b}`, `{a="b"}`, `{a="b"}`, `{a="b"}`},
		{` { a = "b" , c!="d",e=~"f.*", g!~h, } `, `{a="b", c!="d", e=~"f.*", g!~"h"}`, refused, `{a="b", c!="d", e=~"f.*", g!~"h"}`},
		{`{a="b,c", d="e}"}`, `{a="b,c", d="e}"}`, `{a="b,c", d="e}"}`, `{a="b,c", d="e}"}`},
		{`a="she said \"hi, you\""`, `{a="she said \"hi, you\""}`, `{a="she said \"hi, you\""}`, `{a="she said \"hi, you\""}`},
		{`a=""`, `{a=""}`, `{a=""}`, `{a=""}`},
		// What only one of the two reads.
		{`a=`, refused, `{a=""}`, `{a=""}`},
		{`a=b c`, refused, `{a="b c"}`, `{a="b c"}`},
		{`a=b=c`, refused, `{a="b=c"}`, `{a="b=c"}`},
		{`a={b}`, refused, `{a="{b"}`, `{a="{b"}`},
		{`{a=b`, refused, `{a="b"}`, `{a="b"}`},
		{`a=b}`, refused, `{a="b"}`, `{a="b"}`},
		{`a:b=c`, `{"a:b"="c"}`, `{"a:b"="c"}`, `{"a:b"="c"}`},
		{`00=b`, `{"00"="b"}`, refused, `{"00"="b"}`},
		{`fooΣ=bar🙂`, `{"fooΣ"="bar🙂"}`, refused, `{"fooΣ"="bar🙂"}`},
		{`"\xf0\x9f\x99\x82"=dΘ`, `{"🙂"="dΘ"}`, refused, `{"🙂"="dΘ"}`},
		{`"a b"="c d"`, `{"a b"="c d"}`, refused, `{"a b"="c d"}`},
		{`a="\d"`, refused, `{a="\\d"}`, `{a="\\d"}`}, // a backslash before anything is itself, in the older
		// What both read, each its way: the older counts.
		{`a="\t"`, `{a="\t"}`, `{a="\\t"}`, `{a="\\t"}`},
		{`a="\\d+\n"`, `{a="\\d+\n"}`, `{a="\\d+\n"}`, `{a="\\d+\n"}`},
		// What neither reads.
		{`,`, refused, refused, refused},
		{`a`, refused, refused, refused},
		{`=b`, refused, refused, refused},
		{`a=b,,c=d`, refused, refused, refused},
		{`a="b`, refused, refused, refused},
		{`a="b\"`, refused, refused, refused},
		{`a=b"c"`, refused, refused, refused},
		{`a="b"c"`, refused, refused, refused},
		{`a=~"("`, refused, refused, refused},
		{`a~b`, refused, refused, refused},
		{"a=\xff", refused, refused, refused},
		{`"\xff"="b"`, refused, refused, refused},
		{`""="b"`, refused, refused, refused},
		{strings.Repeat("a=b,", alert.MaxMatchers+1), refused, refused, refused},
		{`a="` + strings.Repeat("b", alert.MaxLabelsBytes) + `"`, refused, refused, refused},
	} {
		for syntax, want := range map[alert.Syntax]string{alert.UTF8Syntax: c.newer, alert.ClassicSyntax: c.older, alert.EitherSyntax: c.either} {
			ms, err := alert.ParseMatchers(c.in, syntax)
			if want == refused {
				require.ErrorIs(t, err, alert.ErrInvalid, "%q by %d gives %v", c.in, syntax, ms)
				require.Less(t, len(err.Error()), 400)
				continue
			}
			require.NoError(t, err, "%q by %d", c.in, syntax)
			require.Equal(t, want, ms.String(), "%q by %d", c.in, syntax)
		}
	}
	_, err := alert.ParseMatchers(`a=b,c="d`, alert.UTF8Syntax)
	require.EqualError(t, err, `matchers at 6 "\"d" invalid: a quotation mark at the end`)
}

// FuzzParseMatchers: what is read is written so that it is read as the same.
func FuzzParseMatchers(f *testing.F) {
	for _, s := range []string{`{a="b", c!~"d.*",}`, `"a b"=c`, `a=b c`, `a="\"\\\n"`, `a=b,`, "a=\x00", `a="\t"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, syntax := range []alert.Syntax{alert.UTF8Syntax, alert.ClassicSyntax, alert.EitherSyntax} {
			ms, err := alert.ParseMatchers(s, syntax)
			if err != nil {
				require.ErrorIs(t, err, alert.ErrInvalid)
				continue
			}
			again, err := alert.ParseMatchers(ms.String(), alert.UTF8Syntax)
			require.NoError(t, err, "%q gives %v", s, ms)
			require.Equal(t, ms.String(), again.String())
			ms.Match(alert.Labels{})
		}
	})
}
