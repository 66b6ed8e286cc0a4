" Vim indent file. Language: nnc programs (.nn). Four columns a block, as `nnc fmt` does it.
if exists("b:did_indent")
  finish
endif
let b:did_indent = 1

setlocal expandtab shiftwidth=4 softtabstop=4 autoindent
setlocal indentexpr=NnIndent()
setlocal indentkeys=0},0),0],!^F,o,O,0=\|>,0=else

if exists("*NnIndent")
  finish
endif

" The line without comment and strings, so that brackets in them do not count.
function! s:Code(line)
  return substitute(substitute(getline(a:line), '"\(\\.\|[^"\\]\)*"', '""', 'g'), '#.*$', '', '')
endfunction

function! NnIndent()
  let previous = prevnonblank(v:lnum - 1)
  if previous == 0
    return 0
  endif
  let code = s:Code(previous)
  let indent = indent(previous)
  let this = s:Code(v:lnum)
  let goes_on = this =~ '^\s*|>'
  if code =~ '[{(\[]\s*$'
    let indent += shiftwidth()
  elseif goes_on && code !~ '^\s*|>'
    let indent += shiftwidth()
  elseif !goes_on && code =~ '^\s*|>'
    let indent -= shiftwidth()
  endif
  if this =~ '^\s*[})\]]'
    let indent -= shiftwidth()
  endif
  return indent
endfunction
