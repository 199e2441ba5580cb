#include "client/cpp/help.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cpp/flags.h"
#include "client/cpp/spec_request.h"

namespace scalpel::client {
namespace {

constexpr char kUse[] =
    R"(scalpel-cli talks to a Scalpel server: GPT-2 under interventions.

  scalpel-cli run [FILE.json] [PROMPT...] [flags]   runs a request
  scalpel-cli sweep [FILE.json] [PROMPT...] [flags] runs it for every variant
  scalpel-cli generate [FILE.json] [PROMPT...] [flags] continues prompts
  scalpel-cli model                                 the model, sites, limits
  scalpel-cli tokenize TEXT                         text to token ids
  scalpel-cli detokenize IDS                        token ids to text
  scalpel-cli health [SERVICE]                      is the server ready?
  scalpel-cli status                                its load (operators)
  scalpel-cli top                                   its status, each second

FILE.json is a RunRequest, SweepRequest or GenerateRequest in protobuf JSON
(-: standard input); flags add to it.

  scalpel-cli run "The capital of France is" --zero K:layer=5,head=2 \
    --probe resid_post:std --clean
  scalpel-cli sweep "The capital of France is" --zero Z --prob " Paris" \
    --over layers --over heads
  scalpel-cli sweep "The capital of Italy is" --patch resid_pre \
    --source "The capital of France is" --score " Paris" " Rome" \
    --over layers --over positions
  scalpel-cli generate "The capital of France is" --max-new-tokens 20 \
    --scale resid_post:layer=9,factor=0.5,steps=generated \
    --reuse-kv intervened --unsteered
)";

constexpr char kGrammar[] = R"(
SPEC is PLACE:key=value,key=value,word - for example
  K:layer=5,head=2             one head's keys
  mlp_post:layer=6,unit=::2    every second neuron
  attn.c_attn:output:layer=3   a site by its path in transformers
PLACE is a site or another name of it (scalpel-cli model lists them). Keys of
every place; without a key, all. Plurals are accepted, too: layers=1,3.
  layer= head= unit= prompt=   lists of indices
  position= or query=          token positions; negative: from the end
  key=                         positions attended to (attn_scores, pattern)
  token=                       the positions that hold these token ids
  steps=                       of generate: prompt, generated, 3, or 1:4
  name=                        a label for the results
AXIS is layers, heads or positions, for all of them or a list (layers=0,3 or
layers=0:4); or values=A,B,..., which the operation's number takes (scale, add,
set, noise, project-out). Leave out of the interventions what an axis sets. The
last axis varies fastest. TOKEN is a token's text, with the space before it
(" Paris"), or id:6342.
A patch reads the same place of the other run, or from_layer= from_head=
from_position= from_key= of it.
Lists such as 1,3 go on until the next key. Ranges are start:end:step as in
Python: 0:4, ::2, -3: - in layer=, head= and prompt= with an end.
Words: a probe takes statistics (mean std variance min max abs_max l2_norm
mean_l2_norm rms kurtosis zero_fraction entropy relative_l2 cosine), per_head
per_position per_unit per_query per_key (one number for each), quantile=0.1,0.9
and a histogram bins=20,min=-3,max=3; probes and captures take before or after
(the interventions there); captures take float32, float16 or bfloat16.

Exit codes:
  0    done, or the output was closed
  1    the server refused or failed, or its answer is invalid; the reason and
       each wrong field are on standard error
  2    the command line or FILE.json is wrong
  3    no connection, or the server is not ready
  4    the deadline passed
  130  interrupted (Ctrl-C)
Colour needs a terminal; NO_COLOR turns it off.
)";

std::string FlagHelp(absl::string_view name, const char* value, absl::string_view meaning) {
  const std::string left = value == nullptr ? std::string(name) : absl::StrCat(name, " ", value);
  if (left.size() > 22) return absl::StrFormat("  %s\n%26s%s\n", left, "", meaning);
  return absl::StrFormat("  %-22s  %s\n", left, meaning);
}

}  // namespace

std::string HelpText() {
  std::string text = kUse;
  for (const FlagGroup& group : FlagGroups()) {
    absl::StrAppend(
        &text, "\n", group.title,
        group.commands.empty() ? "" : absl::StrCat(" (", absl::StrJoin(group.commands, ", "), ")"),
        ":\n");
    for (const Flag& flag : group.flags) text += FlagHelp(flag.name, flag.value, flag.meaning);
  }
  text += "\nInterventions (run, sweep, generate), in the order given; may be repeated:\n";
  for (const OperationFlag& operation : OperationFlags()) {
    text += FlagHelp(absl::StrCat("--", operation.name, " SPEC"), nullptr, operation.meaning);
    if (*operation.keys != '\0') absl::StrAppendFormat(&text, "%26s%s\n", "", operation.keys);
  }
  return absl::StrCat(text, kGrammar);
}

}  // namespace scalpel::client
