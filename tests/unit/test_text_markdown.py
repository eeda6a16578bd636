"""What CommonMark takes for markup goes from an answer, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.text.markdown import strip_markdown


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        pytest.param("**bold** __bold__", "bold bold", id="strong"),
        pytest.param("*it* _it_ ***both***", "it it both", id="emphasis"),
        pytest.param("snake_case_name stays", "snake_case_name stays", id="snake-case"),
        pytest.param("3 * 4 * 5 = 60", "3 * 4 * 5 = 60", id="product"),
        pytest.param("a*b*c", "abc", id="emphasis-inside-a-word"),
        pytest.param("**open and * this", "**open and * this", id="unclosed"),
        pytest.param("** no ** _ no _", "** no ** _ no _", id="spaces-inside"),
        pytest.param("*foo**bar*", "foo**bar", id="lengths-add-up-to-three"),
        pytest.param("*a **b* c**", "a b c", id="lengths-mixed"),
        pytest.param("*a _b* c_", "a _b c_", id="overlap"),
        pytest.param("*(*foo*)*", "(foo)", id="beside-punctuation"),
        pytest.param("~~gone~~ ~5 or ~6", "gone ~5 or ~6", id="strikethrough"),
        pytest.param("`x = *a*` and ``a ` b``", "x = *a* and a ` b", id="code"),
        pytest.param("`` `a` `` `unclosed", "`a` `unclosed", id="code-in-code"),
        pytest.param("[docs](http://x.y/z_(a) 'T')", "docs", id="link"),
        pytest.param("[*a* b](<x y>)!", "a b!", id="link-with-emphasis"),
        pytest.param("*foo [bar*](x)", "*foo bar*", id="link-binds-tighter"),
        pytest.param("[a [b](c) d](e)", "[a b d](e)", id="no-link-in-a-link"),
        pytest.param("![a cat](cat.png) [![b](c)](d)", "a cat b", id="image"),
        pytest.param("[not a link] (x) [y]", "[not a link] (x) [y]", id="brackets"),
        pytest.param("<https://x.y> <a@b.c> <3 <b>", "https://x.y a@b.c <3 <b>", id="autolink"),
        pytest.param("\\*not\\* a \\b", "*not* a \\b", id="escapes"),
        pytest.param("¯\\_(ツ)_/¯", "¯\\_(ツ)_/¯", id="shrug"),
        pytest.param("# Title #\n## Other\n#hashtag", "Title\nOther\n#hashtag", id="headings"),
        pytest.param("Title\n=====\ntext\n---\nmore", "Title\ntext\nmore", id="underlined"),
        pytest.param("a\n***\nb\n_ _ _", "a\nb", id="rules"),
        pytest.param("* a\n- b\n+ c\n  - d", "a\nb\nc\nd", id="bullets"),
        pytest.param("*a*\n* b *c*", "a\nb c", id="bullets-and-emphasis"),
        pytest.param("1. a\n2) b", "1. a\n2) b", id="numbers-stay"),
        pytest.param("> quoted\n> > *twice\n> over*", "quoted\ntwice\nover", id="quotes"),
        pytest.param("```py\nx = *a*\n```\n*b*", "x = *a*\nb", id="fence"),
        pytest.param("~~~\n```\n~~~", "```", id="other-fence"),
        pytest.param("```\nnever *closed*", "never *closed*", id="fence-unclosed"),
        pytest.param("+1 -1 #1 >", "+1 -1 #1 >", id="no-blocks"),
        pytest.param("*a\n\nb*", "*a\nb*", id="not-across-paragraphs"),
        pytest.param("1. a\n   - b\n     1. c\n2. d", "1. a\nb\n1. c\n2. d", id="lists-nested"),
        pytest.param("- a\n\n  - b\n\n    text\n- c", "a\nb\ntext\nc", id="lists-loose"),
        pytest.param("Sure!\n- one\n1. two", "Sure!\none\n1. two", id="list-after-text"),
        pytest.param("1986.", "1986.", id="number-alone"),
        pytest.param("1.\n2. - a", "1.\n2. a", id="items-empty-and-nested"),
        pytest.param("1. ```\n   *x*\n   ```", "1. *x*", id="item-of-code"),
        pytest.param("    indented *x*\n\ty", "indented x\ny", id="indentation-is-no-code"),
        pytest.param("| a | *b* |\n|---|:-:|", "| a | b |\n|---|:-:|", id="table"),
        pytest.param("[x](javascript:a(1)) [](y)", "x ", id="link-of-any-kind"),
        pytest.param("[a]: http://x.y\n[a]", "[a]: http://x.y\n[a]", id="no-references"),
        pytest.param("<https://ä.de/ö> a_b_c", "https://ä.de/ö a_b_c", id="address-as-written"),
        pytest.param("un*friggin*real __init__", "unfrigginreal init", id="inside-words"),
        pytest.param(":kappa: <3 :/ *shrug*", ":kappa: <3 :/ shrug", id="emotes"),
        pytest.param("*shrug* `¯\\_(ツ)_/¯`", "shrug ¯\\_(ツ)_/¯", id="shrug-in-code"),
        pytest.param("o_O T_T >.> ~/bin C# $5", "o_O T_T >.> ~/bin C# $5", id="faces-and-signs"),
        pytest.param("*open `code [link](x", "*open `code [link](x", id="marks-unclosed"),
        pytest.param("<b>x</b> &amp; <br/>", "<b>x</b> &amp; <br/>", id="html-is-text"),
        pytest.param("a  \nb\\\nc", "a\nb\nc", id="hard-breaks"),
    ],
)
def test_markdown_is_stripped(markdown: str, text: str):
    """Only what CommonMark takes for markup goes, and strikethrough."""
    assert strip_markdown(markdown) == text


def test_addresses_may_stay():
    """On request the address is written behind the text that it was under, if it is another."""
    stripped = strip_markdown("[docs](https://a.b) [c](c) <d@e.f> ![g](h)", keep_addresses=True)
    assert stripped == "docs (https://a.b) c d@e.f g"


@given(st.text(st.sampled_from("*_`~[]()!<>#-+ \n\\ab:/.1=\"'")))
@example("`\n`")
def test_stripping_markdown_only_takes_away(text: str):
    """Stripping makes no text longer, and adds nothing but spaces for the newlines in code."""
    stripped = strip_markdown(text)
    assert len(stripped) <= len(text)
    assert set(stripped) <= {*text, " "}
