"""Templates that try to reach what is no variable, or to cost more than they may."""

from itertools import product

# What a Python object, a file or an environment would show; no rendering may hold any of it.
SECRET = "canary-7c1f"
ATTRIBUTES = """
__class__ __dict__ __doc__ __init__ __globals__ __mro__ __bases__ __subclasses__ __module__ __builtins__ __import__
__reduce__ __getattribute__ __code__ __closure__ keys values items get pop format encode join upper lower real imag
append sort count index copy __len__ __iter__ __getitem__ __call__ __repr__ __str__ __hash__ __sizeof__ f_globals
gi_frame func_globals _variables _partials environ secret password
""".split()
HOLDERS = ("text", "number", "flag", "list", "object", "self", ".")
WAYS = ("{{%s.%s}}", "{{{%s.%s}}}", "{{&%s.%s}}", "{{#%s.%s}}x{{/%s.%s}}")
FILES = """
/etc/passwd ../../etc/passwd file:///etc/passwd ..\\..\\secret ~/.ssh/id_rsa /proc/self/environ . .. C:\\x http://x/y
{{text}} secret\0 other/secret %2e%2e/secret ${HOME} $(id) `id` ; ''
""".split()
OTHER_LANGUAGES = (
    "{% import os %}",
    "{{ config.items() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ request.application.__globals__ }}",
    "{{ lipsum.__globals__['os'].environ }}",
    "${__import__('os').environ}",
    "#{7*7}",
    "<%= 7*7 %>",
    "<% import os %>",
    "{{7*7}}",
    "{{constructor.constructor('return process')()}}",
    "{text.__class__}",
    "{0.__init__.__globals__}",
    "%(secret)s",
    "$secret",
    "{{#with text}}{{/with}}",
    "{{lookup this 'secret'}}",
    "{{{{raw}}}}{{secret}}{{{{/raw}}}}",
    "{{> (lookup . 'secret')}}",
    "{{text|attr('__class__')}}",
    "{{text\n.__class__}}",
    "{{\0secret}}",
    "{{" + "a." * 5000 + "a}}",
)
BROKEN = (
    "{{",
    "{{}",
    "{{#a}}",
    "{{/a}}",
    "{{#a}}{{/b}}",
    "{{{text}}",
    "{{=",
    "{{=<% %>=}}<%secret%>",
    "{{=}}=}}",
    "{{>}}",
)
COSTLY = (
    "{{#list}}" * 90 + "x" * 1000 + "{{/list}}" * 90,
    "{{#list}}" * 100 + "{{/list}}" * 100,
    "{{#list}}" * 101 + "{{/list}}" * 101,
    "{{#list}}" * 5000 + "{{/list}}" * 5000,
    "{{#list}}{{#list}}{{#list}}{{#list}}{{text}}{{/list}}{{/list}}{{/list}}{{/list}}",
    "{{#list}}{{#list}}{{#list}}{{^list}}{{/list}}{{/list}}{{/list}}{{/list}}",
    "{{#list}}" + "{{!}}" * 900 + "{{/list}}",
    "{{text}}" * 1001,
    "{{>bomb}}" * 900,
    "{{>again}}",
    "{{>ping}}",
    " " * 60_000 + "{{>lines}}\n",
    "{{#list}}{{>bomb}}{{/list}}",
    "x" * 70_000,
    "\U0001f600" * 20_000,
    "{{#list}}" + "y" * 60_000 + "{{/list}}",
    "{{list}}" * 1000,
)


def templates() -> list[str]:
    """More than five hundred of them."""
    reaching = [
        way % ((holder, name) * (way.count("%s") // 2))
        for way, holder, name in product(WAYS, HOLDERS, ATTRIBUTES[:20])
    ]
    alone = [f"{{{{{name}}}}}" for name in ATTRIBUTES]
    files = [f"{{{{{mark}{name}}}}}" for mark, name in product((">", "> "), FILES)]
    return [*reaching, *alone, *files, *OTHER_LANGUAGES, *BROKEN, *COSTLY]
