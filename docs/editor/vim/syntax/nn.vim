" Vim syntax file. Language: nnc programs (.nn); the words and forms of docs/language.md.
if exists("b:current_syntax")
  finish
endif
let s:cpo_save = &cpo
set cpo&vim

syntax case match
setlocal iskeyword=@,48-57,_,128-255
setlocal commentstring=#\ %s

" Reserved words: never names.
syntax keyword nnConditional  if then else
syntax keyword nnRepeat       for in scan repeat while
syntax keyword nnStatement    return yield print track write minimize
syntax keyword nnOperatorWord and or not
syntax keyword nnBoolean      true false
syntax keyword nnReserved     fn

" Words in their place, names elsewhere: at the start of a line, behind certain others.
syntax match nnDeclaration    "^\s*\(const\|option\|data\|vocab\|layer\|model\|optimizer\|command\|param\|state\|let\)\ze\s\+[^-=<,:.([{ ]"
syntax match nnStatement      "\(^\|[{;]\)\s*\zs\(update\|save\|load\)\ze\s\+[^-=<,:.([{ ]"
syntax match nnStatement      "\(^\|[{;]\)\s*\zs\(keep\s\+\(lowest\|highest\)\|stop\s\+when\s\+\(lowest\|highest\)\)\ze\s"
syntax match nnClause         "\s\zs\(batch\|along\|over\|using\|with\|to\|from\|max\|stalls\s\+for\)\ze\s\+[^-=<,:.)\] ]"
syntax match nnClause         "\s\zs\(shuffle\|resample\|lanes\|drop_last\|backwards\)\ze\s*\({\|,\|$\|shuffle\|resample\|lanes\|drop_last\)"
syntax match nnClause         "[[,]\s*\zsnew\ze\s*[],]"

" Functions that the compiler knows by itself.
syntax match nnBuiltin        "\<\(exp\|log\|log1p\|expm1\|sqrt\|abs\|sign\|floor\|ceil\|round\|sin\|cos\|tanh\|sigmoid\|erf\|clip\|max\|min\|sum\|mean\|prod\|any\|all\|argmax\|argmin\|uniform\|normal\|bernoulli\|categorical\|permutation\|randint\|grad\|stop_gradient\|params\|weights\|reshape\|transpose\|concat\|stack\|split\|reverse\|pad\|broadcast\|expand\|shape\|len\|zeros\|ones\|full\|eye\|arange\|like\|require\|one_hot\|gather\|sort\|top_k\|convolve\|convolve_back\|max_windows\|sum_windows\|einsum\)\ze("

" Names of the library, where they are applied: dense[10], |> relu, using adam.
syntax match nnLibrary        "\<\(accuracy\|adagrad\|adam\|adamw\|additive_attention\|attend\|avgpool\|batch_norm\|bce\|bidirectional\|bilinear\|binary_nll\|clip_norm\|clip_value\|confusion\|conv\|conv_transpose\|cosine\|cosine_attention\|cosine_scores\|coupled_lstm\|coupled_lstm_cell\|cross_entropy\|cutout\|decayed\|dense\|dot_attention\|dot_scores\|dropout\|elu\|embedding\|exponential\|fan_in\|fan_out\|flatten\|gaussian_noise\|gelu\|global_avgpool\|global_contrast\|glorot_normal\|glorot_uniform\|gru\|gru_cell\|he_normal\|he_uniform\|hinge\|inverse_sqrt\|kl_normal\|l1\|l2\|layer_norm\|leaky_relu\|lecun_normal\|log_softmax\|logsumexp\|lstm\|lstm_cell\|masked_cross_entropy\|matrix_inverse_sqrt\|maxout\|maxpool\|momentum\|mse\|multi_head_attention\|nesterov\|nll\|norm\|orthogonal\|peephole_lstm\|peephole_lstm_cell\|perplexity\|pick\|positional_encoding\|random_affine\|random_crop\|random_flip\|random_shift\|relu\|residual\|rmsprop\|rnn\|rnn_cell\|rotate\|salt_and_pepper\|same\|scale\|scaled_dot_product\|sgd\|softmax\|softplus\|staircase\|standardize\|top_k_accuracy\|total\|unpool\|valid\|warmup\|within\|zca\)\ze[[(]"
syntax match nnLibrary        "\%(|>\s*\|using\s\+\)\@<=\(accuracy\|adagrad\|adam\|adamw\|additive_attention\|attend\|avgpool\|batch_norm\|bce\|bidirectional\|bilinear\|binary_nll\|clip_norm\|clip_value\|confusion\|conv\|conv_transpose\|cosine\|cosine_attention\|cosine_scores\|coupled_lstm\|coupled_lstm_cell\|cross_entropy\|cutout\|decayed\|dense\|dot_attention\|dot_scores\|dropout\|elu\|embedding\|exponential\|fan_in\|fan_out\|flatten\|gaussian_noise\|gelu\|global_avgpool\|global_contrast\|glorot_normal\|glorot_uniform\|gru\|gru_cell\|he_normal\|he_uniform\|hinge\|inverse_sqrt\|kl_normal\|l1\|l2\|layer_norm\|leaky_relu\|lecun_normal\|log_softmax\|logsumexp\|lstm\|lstm_cell\|masked_cross_entropy\|matrix_inverse_sqrt\|maxout\|maxpool\|momentum\|mse\|multi_head_attention\|nesterov\|nll\|norm\|orthogonal\|peephole_lstm\|peephole_lstm_cell\|perplexity\|pick\|positional_encoding\|random_affine\|random_crop\|random_flip\|random_shift\|relu\|residual\|rmsprop\|rnn\|rnn_cell\|rotate\|salt_and_pepper\|same\|scale\|scaled_dot_product\|sgd\|softmax\|softplus\|staircase\|standardize\|top_k_accuracy\|total\|unpool\|valid\|warmup\|within\|zca\)\>"

" What is declared, and types.
syntax match nnFunction       "\(^\|\s\)\(fn\|layer\|optimizer\|command\)\s\+\zs\k\+" contains=nnReserved
syntax keyword nnType         f32 f64 i32 i64 u8 bool float int any string list
syntax match nnType           ":\s*\zs\(fn\|layer\|model\)\ze\s*[],=)]"

syntax match nnNumber         "\<\d\+\>"
syntax match nnNumber         "\<\d\+\ze\.\."
syntax match nnFloat          "\<\d\+\.\(\.\)\@!\d*\([eE][-+]\=\d\+\)\=\|\(\k\|\.\)\@<!\.\d\+\([eE][-+]\=\d\+\)\=\|\<\d\+[eE][-+]\=\d\+"
syntax match nnOperator       "|>\|<-\|->\|\.\.\.\=\|[-+*/%@^=<>!]\|\k\@<='\|[])]\@<='"

syntax region nnString        start=+"+ skip=+\\.+ end=+"+ oneline contains=nnEscape,nnValue
syntax match  nnEscape        contained "\\["\\nt]"
syntax match  nnValue         contained "{\k\+\(:\.\d\+\)\=}"
syntax keyword nnTodo         contained TODO FIXME
syntax match  nnComment       "#.*$" contains=nnTodo,@Spell

syntax region nnBlock         start="{" end="}" transparent fold

" Slips that nnc reports, shown while they are typed.
syntax match nnError          "&&\|||\|\*\*\|[-+*%]=\|?\|×\|−\|≤\|≥\|≠"

highlight default link nnConditional  Conditional
highlight default link nnRepeat       Repeat
highlight default link nnStatement    Statement
highlight default link nnOperatorWord Operator
highlight default link nnBoolean      Boolean
highlight default link nnReserved     Keyword
highlight default link nnDeclaration  Keyword
highlight default link nnClause       Keyword
highlight default link nnBuiltin      Function
highlight default link nnFunction     Function
highlight default link nnLibrary      Function
highlight default link nnType         Type
highlight default link nnNumber       Number
highlight default link nnFloat        Float
highlight default link nnOperator     Operator
highlight default link nnString       String
highlight default link nnEscape       SpecialChar
highlight default link nnValue        Special
highlight default link nnTodo         Todo
highlight default link nnComment      Comment
highlight default link nnError        Error

let b:current_syntax = "nn"
let &cpo = s:cpo_save
unlet s:cpo_save
