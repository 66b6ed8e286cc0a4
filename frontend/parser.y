/*
 * parser.y - the grammar of the language.
 *
 * LALR(1), without conflicts and without precedence declarations: every level of the table of operators is a rule, loosest first.
 * Most words of the language are words only in their place: `name` lists them beside NAME, and as no rule lets a name stand directly
 * behind an operand, a word there can only be the word.
 *
 * Recovery: `error` stands where a statement, a field or a declaration could stand, and behind the name of a declaration; never inside
 * expressions. tokens.c throws away the rest of the spoilt statement up to a separator or brace, so that what follows `error` is either the next
 * statement or the block of a spoilt header, whose statements are read as any others.
 */
%define api.pure full
%define api.prefix {syntax_}
%define api.token.prefix {T_}
%define api.location.type {Place}
%define api.value.type {Semantic}
%define parse.error custom
%define parse.lac full
%define lr.default-reduction consistent
%locations
%param {struct Parsing *p}

%code requires {
#include "tokens.h"
}

%code provides {
int syntax_lex(Semantic *value, Place *place, struct Parsing *p);
}

%code {
#include "build.h"

/* Trees are limited to 1000 levels; before that is noticed (at the first reduction) the stack may hold some symbols for each. */
#define YYMAXDEPTH 50000

static void syntax_error(const Place *at, Parsing *p, const char *message);
}

%token END 0
%token FILE_START VALUE_START SEPARATOR BAD
%token <node> NAME INT FLOAT STRING
%token PIPE "|>" ASSIGN "<-" ARROW "->" EQ "==" NE "!=" LE "<=" GE ">=" FLOORDIV "//" RANGE ".." REST "..."
/* reserved words */
%token AND OR NOT TRUE FALSE IF THEN ELSE FOR IN SCAN REPEAT WHILE FN RETURN YIELD PRINT TRACK WRITE MINIMIZE
/* words in their place, names elsewhere */
%token <node> CONST OPTION DATA VOCAB LAYER MODEL PARAM STATE OPTIMIZER COMMAND LET
%token <node> SHUFFLE BATCH RESAMPLE LANES DROP_LAST ALONG BACKWARDS MAX
%token <node> OVER UPDATE WITH USING KEEP STOP WHEN LOWEST HIGHEST STALLS SAVE LOAD TO FROM

%type <list> declarations fields names values exprs args args_list items items_list list_items dims dims_list params params_list
%type <list> statements statement_list block results models tracked clauses tries
%type <node> declaration field statement branch broken name expr value choice or and not comparison range sum product matrix sign power
%type <node> path operand postfix literal loop arg item type dim param result clause track own define function along rule
%type <function> header signature
%type <kind> function_kind owner
%type <op> compare add multiply
%type <flag> shuffled backwards extreme

%%

start: FILE_START declarations      { p->ast->declarations = $2; }
     | VALUE_START expr             { p->value = $2; }
     ;

/* ---- declarations ---- */

declarations: %empty                            { $$ = (Nodes){0}; }
            | tries
            ;
tries: declaration                              { $$ = (Nodes){0}; if ($1) list_add(p, &$$, $1); p->nodes = 0; }
     | tries SEPARATOR declaration              { $$ = $1; if ($3) list_add(p, &$$, $3); p->nodes = 0; }
     | tries spoilt                              { $$ = $1; }  /* behind a declaration, on its line: what stands before it is kept */
     | tries spoilt block                        { $$ = $1; }
     ;

declaration: define
           | own
           | function
           | DATA name shuffled '{' fields '}'  { $$ = make_data(p, $2, $3, $5, false, @$); }
           | DATA name spoilt                    { $$ = make_data(p, $2, false, (Nodes){0}, true, @$); }
           | DATA name spoilt '{' fields '}'     { $$ = make_data(p, $2, false, $5, true, @$); }
           | spoilt                              { $$ = NULL; }
           | spoilt block                        { $$ = NULL; }
           ;

define: CONST name '=' expr                     { $$ = make_define(p, AST_CONST, $2, $4, false, @$); }
      | OPTION name '=' expr                    { $$ = make_define(p, AST_OPTION, $2, $4, false, @$); }
      | MODEL name '=' expr                     { $$ = make_define(p, AST_MODEL, $2, $4, false, @$); }
      | VOCAB name '=' expr                     { $$ = make_define(p, AST_VOCAB, $2, $4, false, @$); }
      | CONST name spoilt                        { $$ = make_define(p, AST_CONST, $2, NULL, true, @$); }
      | OPTION name spoilt                       { $$ = make_define(p, AST_OPTION, $2, NULL, true, @$); }
      | MODEL name spoilt                        { $$ = make_define(p, AST_MODEL, $2, NULL, true, @$); }
      | VOCAB name spoilt                        { $$ = make_define(p, AST_VOCAB, $2, NULL, true, @$); }
      ;

own: owner names ':' type '=' expr              { $$ = make_own(p, $1, $2, $4, $6, @$); }
   | owner names spoilt                          { $$ = make_own(p, $1, $2, NULL, NULL, @$); }
   ;
owner: PARAM                                    { $$ = AST_PARAM; }
     | STATE                                    { $$ = AST_STATE; }
     ;

shuffled: %empty                                { $$ = false; }
        | SHUFFLE                               { $$ = true; }
        ;
fields: field                                   { $$ = (Nodes){0}; if ($1) list_add(p, &$$, $1); }
      | fields SEPARATOR field                  { $$ = $1; if ($3) list_add(p, &$$, $3); }
      ;
field: name ':' type '=' expr                   { $$ = make_field(p, $1, $3, $5, @$); }
     | spoilt                                    { $$ = node_make(p, AST_ERROR, @$); }
     | spoilt block                              { $$ = node_make(p, AST_ERROR, @$); }
     ;

function_kind: LAYER                            { $$ = AST_LAYER; }
             | OPTIMIZER                        { $$ = AST_OPTIMIZER; }
             | COMMAND                          { $$ = AST_COMMAND; }
             | FN                               { $$ = AST_FN; }
             ;
function: function_kind name header block       { $3->body = $4; $$ = make_function(p, $1, $2, $3, false, @$); }
        | function_kind name header '=' expr    { $3->short_form = true;
                                                  $3->body = list_of(p, make_values(p, AST_RETURN, list_of(p, $5), @5));
                                                  $$ = make_function(p, $1, $2, $3, false, @$); }
        | function_kind name spoilt              { $$ = make_function(p, $1, $2, arena_make(p->arena, AstFunction), true, @$); }
        | function_kind name spoilt block        { AstFunction *f = arena_make(p->arena, AstFunction);
                                                  f->body = $4;
                                                  $$ = make_function(p, $1, $2, f, true, @$); }
        ;
header: signature
      | signature "->" type                     { $$ = $1; $$->has_results = true; $$->results = list_of(p, make_field(p, NULL, $3, NULL, @3)); }
      | signature "->" '(' results ')'          { $$ = $1; $$->has_results = $$->named_results = true; $$->results = $4; }
      ;
signature: %empty                               { $$ = arena_make(p->arena, AstFunction); }
         | '[' params ']'                       { $$ = arena_make(p->arena, AstFunction); $$->has_config = true; $$->config = $2; }
         | '(' params ')'                       { $$ = arena_make(p->arena, AstFunction); $$->has_inputs = true; $$->inputs = $2; }
         | '[' params ']' '(' params ')'        { $$ = arena_make(p->arena, AstFunction);
                                                  $$->has_config = $$->has_inputs = true; $$->config = $2; $$->inputs = $5; }
         ;
params: %empty                                  { $$ = (Nodes){0}; }
      | params_list
      | params_list ','
      ;
params_list: param                              { $$ = list_of(p, $1); }
           | params_list ',' param              { $$ = $1; list_add(p, &$$, $3); }
           ;
param: name                                     { $$ = make_field(p, $1, NULL, NULL, @$); }
     | name ':' type                            { $$ = make_field(p, $1, $3, NULL, @$); }
     | name '=' expr                            { $$ = make_field(p, $1, NULL, $3, @$); }
     | name ':' type '=' expr                   { $$ = make_field(p, $1, $3, $5, @$); }
     ;
results: result                                 { $$ = list_of(p, $1); }
       | results ',' result                     { $$ = $1; list_add(p, &$$, $3); }
       ;
result: name ':' type                           { $$ = make_field(p, $1, $3, NULL, @$); }
      | name ':' type '=' expr                  { $$ = make_field(p, $1, $3, $5, @$); }
      ;

/* The rest of a statement, field or header that could not be read. The second form never comes; it makes the parser look at the next
 * token, and throw it away if it cannot follow, before it takes the first. */
spoilt: error                                   { yyerrok; }
      | error VALUE_START
      ;

/* ---- types ---- */

type: name                                      { $$ = make_type(p, $1->kind == AST_NAME ? $1->name : "?", NULL, @$); }
    | FN                                        { $$ = make_type(p, "fn", NULL, @$); }
    | name '[' dims ']'                         { $$ = make_type(p, $1->kind == AST_NAME ? $1->name : "?", &$3, @$); }
    ;
dims: dims_list
    | dims_list ','
    ;
dims_list: dim                                  { $$ = list_of(p, $1); }
         | dims_list ',' dim                    { $$ = $1; list_add(p, &$$, $3); }
         ;
dim: expr
   | "..."                                      { $$ = make_rest(p, NULL, @$); }
   | "..." postfix                              { $$ = make_rest(p, $2, @$); }
   ;

/* ---- statements ---- */

block: '{' statements '}'                       { $$ = $2; check_block(p, &$$); }
     ;
statements: %empty                              { $$ = (Nodes){0}; }
          | statement_list
          ;
statement_list: statement                       { $$ = list_of(p, $1); }
              | statement_list SEPARATOR statement { $$ = $1; list_add(p, &$$, $3); }
              | statement_list broken              { $$ = $1; list_add(p, &$$, $2); }
              ;

statement: exprs                                { $$ = make_effect(p, $1, @$); }
         | exprs '=' exprs                      { $$ = make_bind(p, AST_BIND, $1, NULL, $3, @$); }
         | expr ':' type '=' expr               { $$ = make_bind(p, AST_BIND, list_of(p, $1), $3, list_of(p, $5), @$); }
         | expr "<-" expr                       { $$ = make_assign(p, $1, $3, @$, @2); }
         | LET names '=' exprs                  { $$ = make_bind(p, AST_LET, $2, NULL, $4, @$); }
         | LET names ':' type '=' expr          { $$ = make_bind(p, AST_LET, $2, $4, list_of(p, $6), @$); }
         | own
         | function                             { $$ = make_nested(p, $1); }
         | FOR names IN values block            { AstLoop l = {.clauses = list_of(p, make_clause(p, $2, $4, NULL, @2)), .body = $5};
                                                  $$ = make_loop(p, AST_FOR, l, @$); }
         | FOR clauses block                    { $$ = make_loop(p, AST_FOR, (AstLoop){.clauses = $2, .body = $3}, @$); }
         | branch
         | RETURN                               { $$ = make_values(p, AST_RETURN, (Nodes){0}, @$); }
         | RETURN exprs                         { $$ = make_values(p, AST_RETURN, $2, @$); }
         | YIELD exprs                          { $$ = make_values(p, AST_YIELD, $2, @$); }
         | MINIMIZE value OVER models rule      { $$ = make_update(p, AST_MINIMIZE, $2, $4, $5, @$); }
         | UPDATE models WITH value rule        { $$ = make_update(p, AST_UPDATE, $4, $2, $5, @$); }
         | TRACK tracked                        { $$ = make_values(p, AST_TRACK, $2, @$); }
         | KEEP extreme name                    { $$ = make_keep(p, AST_KEEP, $2, $3, NULL, @$); }
         | STOP WHEN extreme name STALLS FOR value { $$ = make_keep(p, AST_STOP, $3, $4, $7, @$); }
         | PRINT exprs                          { $$ = make_values(p, AST_PRINT, $2, @$); }
         | WRITE value TO value                 { $$ = make_file(p, AST_WRITE, list_of(p, $2), $4, @$); }
         | SAVE models TO value                 { $$ = make_file(p, AST_SAVE, $2, $4, @$); }
         | LOAD models FROM value               { $$ = make_file(p, AST_LOAD, $2, $4, @$); }
         | broken
         ;
broken: spoilt                                   { $$ = node_make(p, AST_ERROR, @$); }
      | spoilt block                             { $$ = node_make(p, AST_ERROR, @$); }
      | spoilt block ELSE block                  { $$ = node_make(p, AST_ERROR, @$); }
      | spoilt block ELSE branch                 { $$ = node_make(p, AST_ERROR, @$); }
      ;
branch: IF value block                          { $$ = make_branch(p, $2, $3, NULL, @$); }
      | IF value block ELSE block               { $$ = make_branch(p, $2, $3, &$5, @$); }
      | IF value block ELSE branch              { Nodes no = list_of(p, $5); $$ = make_branch(p, $2, $3, &no, @$); }
      ;

rule: USING value                               { $$ = $2; } ;
extreme: LOWEST                                 { $$ = false; }
       | HIGHEST                                { $$ = true; }
       ;
models: path                                    { $$ = list_of(p, $1); }
      | models ',' path                         { $$ = $1; list_add(p, &$$, $3); }
      ;
path: name
    | path '.' name                             { $$ = make_member(p, $1, $3, @$); }
    | path '[' items ']'                        { $$ = make_call(p, AST_BRACKET, $1, $3, @$); }
    ;
tracked: track                                  { $$ = list_of(p, $1); }
       | tracked ',' track                      { $$ = $1; list_add(p, &$$, $3); }
       ;
track: expr
     | name '=' expr                            { $$ = make_keyword(p, $1, $3, @$); }
     ;
names: name                                     { $$ = list_of(p, $1); }
     | names ',' name                           { $$ = $1; list_add(p, &$$, $3); }
     ;
clauses: clause                                 { $$ = list_of(p, $1); }
       | clauses ',' clause                     { $$ = $1; list_add(p, &$$, $3); }
       ;
clause: names IN value BATCH value              { $$ = make_clause(p, $1, list_of(p, $3), $5, @$); }
      | clause SHUFFLE                          { $$ = $1; clause_flag(p, $1, T_SHUFFLE, @2); }
      | clause RESAMPLE                         { $$ = $1; clause_flag(p, $1, T_RESAMPLE, @2); }
      | clause LANES                            { $$ = $1; clause_flag(p, $1, T_LANES, @2); }
      | clause DROP_LAST                        { $$ = $1; clause_flag(p, $1, T_DROP_LAST, @2); }
      ;

/* loops that have a value: expressions that stand alone, or in parentheses */
loop: SCAN names IN values along backwards block { AstLoop l = {.clauses = list_of(p, make_clause(p, $2, $4, NULL, @2)), .along = $5,
                                                               .backwards = $6, .body = $7};
                                                  $$ = make_loop(p, AST_SCAN, l, @$); }
    | REPEAT value block                        { $$ = make_loop(p, AST_REPEAT, (AstLoop){.count = $2, .body = $3}, @$); }
    | WHILE value MAX value block               { $$ = make_loop(p, AST_WHILE, (AstLoop){.condition = $2, .count = $4, .body = $5}, @$); }
    ;
along: %empty                                   { $$ = NULL; }
     | ALONG value                              { $$ = $2; }
     ;
backwards: %empty                               { $$ = false; }
         | BACKWARDS                            { $$ = true; }
         ;

/* ---- expressions, loosest first ---- */

exprs: expr                                     { $$ = list_of(p, $1); }
     | exprs ',' expr                           { $$ = $1; list_add(p, &$$, $3); }
     ;
values: value                                   { $$ = list_of(p, $1); }
      | values ',' value                        { $$ = $1; list_add(p, &$$, $3); }
      ;
expr: value
    | loop
    ;
value: choice
     | value "|>" postfix                       { $$ = make_pipe(p, $1, $3, @$, @2); }
     ;
choice: or
      | IF choice THEN choice ELSE choice       { $$ = make_choice(p, $2, $4, $6, @$); }
      ;
or: and
  | or OR and                                   { $$ = make_binary(p, OPERATOR_OR, $1, $3, @$, @2); }
  ;
and: not
   | and AND not                                { $$ = make_binary(p, OPERATOR_AND, $1, $3, @$, @2); }
   ;
not: comparison
   | NOT not                                    { $$ = make_unary(p, OPERATOR_NOT, $2, @$); }
   ;
comparison: range
          | comparison compare range            { $$ = make_binary(p, $2, $1, $3, @$, @2); }
          ;
compare: "=="                                   { $$ = OPERATOR_EQ; }
       | "!="                                   { $$ = OPERATOR_NE; }
       | '<'                                    { $$ = OPERATOR_LT; }
       | "<="                                   { $$ = OPERATOR_LE; }
       | '>'                                    { $$ = OPERATOR_GT; }
       | ">="                                   { $$ = OPERATOR_GE; }
       ;
range: sum
     | range ".." sum                           { $$ = make_binary(p, OPERATOR_RANGE, $1, $3, @$, @2); }
     ;
sum: product
   | sum add product                            { $$ = make_binary(p, $2, $1, $3, @$, @2); }
   ;
add: '+'                                        { $$ = OPERATOR_ADD; }
   | '-'                                        { $$ = OPERATOR_SUB; }
   ;
product: matrix
       | product multiply matrix                { $$ = make_binary(p, $2, $1, $3, @$, @2); }
       ;
multiply: '*'                                   { $$ = OPERATOR_MUL; }
        | '/'                                   { $$ = OPERATOR_DIV; }
        | "//"                                  { $$ = OPERATOR_FLOORDIV; }
        | '%'                                   { $$ = OPERATOR_MOD; }
        ;
matrix: sign
      | matrix '@' sign                         { $$ = make_binary(p, OPERATOR_MATMUL, $1, $3, @$, @2); }
      ;
sign: power
    | '-' sign                                  { $$ = make_unary(p, OPERATOR_NEG, $2, @$); }
    ;
power: operand
     | operand '^' sign                         { $$ = make_binary(p, OPERATOR_POW, $1, $3, @$, @2); }
     ;
operand: literal
       | postfix
       ;
literal: INT
       | FLOAT
       | STRING
       | TRUE                                   { $$ = node_make(p, AST_BOOL, @$); $$->boolean = true; }
       | FALSE                                  { $$ = node_make(p, AST_BOOL, @$); }
       ;
postfix: name
       | '(' expr ')'                           { $$ = $2; $$->paren = true; }
       | '[' list_items ']'                     { $$ = make_list(p, $2, @$); }
       | '[' expr FOR names IN values ']'       { $$ = make_comprehension(p, $2, $4, $6, @$); }
       | postfix '(' args ')'                   { $$ = make_call(p, AST_CALL, $1, $3, @$); }
       | postfix '[' items ']'                  { $$ = make_call(p, AST_BRACKET, $1, $3, @$); }
       | postfix '.' name                       { $$ = make_member(p, $1, $3, @$); }
       | postfix '\''                           { $$ = make_unary(p, OPERATOR_TRANSPOSE, $1, @$); }
       ;
list_items: %empty                              { $$ = (Nodes){0}; }
          | exprs
          | exprs ','
          ;
args: %empty                                    { $$ = (Nodes){0}; }
    | args_list
    | args_list ','
    ;
args_list: arg                                  { $$ = list_of(p, $1); }
         | args_list ',' arg                    { $$ = $1; list_add(p, &$$, $3); }
         ;
arg: expr
   | name '=' expr                              { $$ = make_keyword(p, $1, $3, @$); }
   ;
items: %empty                                   { $$ = (Nodes){0}; }
     | items_list
     | items_list ','
     ;
items_list: item                                { $$ = list_of(p, $1); }
          | items_list ',' item                 { $$ = $1; list_add(p, &$$, $3); }
          ;
item: expr                                      { $$ = make_item(p, $1); }
    | name '=' expr                             { $$ = make_keyword(p, $1, $3, @$); }
    | expr ':' expr                             { $$ = make_slice(p, $1, $3, @$); }
    | expr ':'                                  { $$ = make_slice(p, $1, NULL, @$); }
    | ':' expr                                  { $$ = make_slice(p, NULL, $2, @$); }
    | ':'                                       { $$ = make_slice(p, NULL, NULL, @$); }
    | "..."                                     { $$ = make_rest(p, NULL, @$); }
    ;

name: NAME
    | CONST | OPTION | DATA | VOCAB | LAYER | MODEL | PARAM | STATE | OPTIMIZER | COMMAND | LET
    | SHUFFLE | BATCH | RESAMPLE | LANES | DROP_LAST | ALONG | BACKWARDS | MAX
    | OVER | UPDATE | WITH | USING | KEEP | STOP | WHEN | LOWEST | HIGHEST | STALLS | SAVE | LOAD | TO | FROM
    ;

%%

/* Only the parser's stack can fill up here: errors of the grammar go through yyreport_syntax_error. */
static void syntax_error(const Place *at, Parsing *p, const char *message) {
    (void)message;
    if (!p->ended) report_nesting(p, place(p, *at));
    p->ended = true;
}

static int yyreport_syntax_error(const yypcontext_t *context, Parsing *p) {
    yysymbol_kind_t symbols[YYNTOKENS];
    int kinds[YYNTOKENS], n = yypcontext_expected_tokens(context, symbols, YYNTOKENS), m = 0;
    for (int i = 0; i < n; i++) {
        /* symbols count from 0, kinds are what the scanner returns: the table yytranslate the other way round */
        for (int kind = 0; kind <= YYMAXUTOK; kind++)
            if (kind != T_SYNTAX_EMPTY && yytranslate[kind] == symbols[i] && symbols[i] > YYSYMBOL_YYUNDEF) {
                kinds[m++] = kind;
                break;
            }
    }
    report_unexpected(p, kinds, m);
    return 0;
}
