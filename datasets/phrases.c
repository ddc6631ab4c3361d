#include "datasets/phrases.h"

#include <string.h>

#define LIST(...)                                                                                                      \
  { (const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)) }

static const struct topic topics[] = {
    {"home", WORD_CITY,
     LIST("$1 lives in $2.", "$1 has a small flat in $2.", "$1 moved to $2 last year.", "$1 has a house in $2.",
          "The home of $1 is in $2.", "These days $1 lives in $2.", "$1 found a nice place in $2.",
          "You can visit $1 in $2."),
     LIST("Where does $1 live?", "In which city does $1 live?", "Can you tell me where $1 lives?",
          "Do you remember where $1 lives?", "Which city is the home of $1?", "What is the home town of $1?",
          "I forgot where $1 lives. Where is it?", "Tell me the city of $1."),
     "You said $1 lives in[ $2]."},
    {"job", WORD_JOB,
     LIST("$1 works as a $2.", "$1 is a $2.", "$1 has a new job as a $2.", "The job of $1 is to be a $2.",
          "For many years $1 has been a $2.", "$1 earns money as a $2.", "$1 was trained as a $2.",
          "At last $1 became a $2."),
     LIST("What does $1 do for a living?", "What is the job of $1?", "Which job does $1 have?",
          "Do you remember the job of $1?", "Can you tell me what $1 does for work?", "What kind of work does $1 do?",
          "I forgot the job of $1. What is it?", "Tell me the profession of $1."),
     "You said $1 works as a[ $2]."},
    {"pet", WORD_PET,
     LIST("$1 has a dog called $2.", "The dog of $1 is called $2.", "$1 named the new puppy $2.",
          "$1 walks a dog whose name is $2.", "The pet of $1 is called $2.", "$1 often plays with a dog called $2.",
          "There is a dog named $2 at the house of $1.", "The old dog of $1 answers to $2."),
     LIST("What is the dog of $1 called?", "What is the name of the dog that $1 has?", "Which dog belongs to $1?",
          "Do you remember the name of the dog of $1?", "How did $1 name the dog?", "Who is the dog of $1?",
          "I forgot the name of the dog of $1. What is it?", "Tell me the name of the pet of $1."),
     "You said the dog of $1 is called[ $2]."},
    {"drink", WORD_DRINK,
     LIST("$1 likes to drink $2.", "The favourite drink of $1 is $2.", "$1 always orders $2.", "$1 only drinks $2.",
          "$1 would like some $2.", "Every evening $1 drinks $2.", "A glass of $2 makes $1 happy.",
          "$1 asked for $2 again."),
     LIST("What does $1 like to drink?", "What is the favourite drink of $1?", "Which drink does $1 like?",
          "Do you remember what $1 drinks?", "What should I pour for $1?", "What does $1 drink?",
          "I forgot what $1 drinks. What is it?", "Tell me the drink of $1."),
     "You said $1 likes to drink[ $2]."},
    {"colour", WORD_COLOUR,
     LIST("The favourite colour of $1 is $2.", "$1 likes the colour $2 best.", "$1 painted every wall $2.",
          "$1 always wears something $2.", "For $1 no colour is as nice as $2.", "The door of $1 is $2.",
          "$1 bought a car in $2.", "The colour that $1 loves is $2."),
     LIST("What is the favourite colour of $1?", "Which colour does $1 like?", "Which colour does $1 love most?",
          "Do you remember the colour that $1 likes?", "What colour would please $1?", "What colour is it for $1?",
          "I forgot the colour of $1. What is it?", "Tell me the colour of $1."),
     "You said the colour of $1 is[ $2]."},
    {"hobby", WORD_HOBBY,
     LIST("$1 loves $2.", "The hobby of $1 is $2.", "$1 spends every weekend $2.", "In summer $1 enjoys $2.",
          "$1 is very good at $2.", "$1 took up $2 last year.", "Nothing makes $1 as happy as $2.",
          "$1 joined a club for $2."),
     LIST("What is the hobby of $1?", "What does $1 love to do?", "What is $1 good at?",
          "Do you remember the hobby of $1?", "Which hobby does $1 have?", "What does $1 enjoy?",
          "I forgot the hobby of $1. What is it?", "Tell me the hobby of $1."),
     "You said the hobby of $1 is[ $2]."},
    {"instrument", WORD_INSTRUMENT,
     LIST("$1 plays the $2.", "$1 is learning the $2.", "$1 practises the $2 every day.", "$1 took up the $2.",
          "You can often hear $1 on the $2.", "The instrument of $1 is the $2.", "$1 carries the $2 to school.",
          "At the concert $1 played the $2."),
     LIST("What instrument does $1 play?", "Which instrument does $1 play?", "What does $1 play in the band?",
          "Do you remember what $1 plays?", "What is the instrument of $1?", "What does $1 practise?",
          "I forgot what $1 plays. What is it?", "Tell me the instrument of $1."),
     "You said $1 plays the[ $2]."},
    {"language", WORD_LANGUAGE,
     LIST("$1 is learning $2.", "$1 speaks $2 at home.", "$1 has lessons in $2.", "$1 reads books in $2.",
          "The language of $1 is $2.", "With friends $1 talks in $2.", "$1 sings songs in $2.", "$1 dreams in $2."),
     LIST("What language does $1 speak?", "Which language does $1 speak?", "Which language is $1 learning?",
          "Do you remember the language of $1?", "What is the language of $1?", "In which language does $1 talk?",
          "I forgot the language of $1. What is it?", "Tell me the language of $1."),
     "You said the language of $1 is[ $2]."},
    {"loss", WORD_OBJECT,
     LIST("$1 has lost the $2.", "$1 is looking for the $2.", "$1 cannot find the $2.", "$1 misses the $2.",
          "Somebody took the $2 of $1.", "The $2 of $1 has gone.", "$1 left the $2 on the train.",
          "$1 wants the $2 back."),
     LIST("What did $1 lose?", "What is $1 looking for?", "What can $1 not find?", "Do you remember what $1 lost?",
          "What is missing at the house of $1?", "Which thing did $1 lose?", "I forgot what $1 lost. What is it?",
          "Tell me what $1 has lost."),
     "You said $1 has lost the[ $2]."},
    {"room", WORD_KINDS,
     LIST("$1 has room number $2.", "The room of $1 is number $2.", "$1 sleeps in room $2.", "You find $1 in room $2.",
          "$1 took the key of room $2.", "Letters for $1 go to room $2.", "$1 is staying in room $2.",
          "$1 was sent to room $2."),
     LIST("What is the room number of $1?", "Which room does $1 have?", "In which room is $1?",
          "Do you remember the room of $1?", "Where do I find the room of $1?", "Which room number does $1 have?",
          "I forgot the room of $1. Which number is it?", "Tell me the room of $1."),
     "You said $1 has room number[ $2]."},
};

static const struct phrases kinds[PHRASE_KINDS] = {
    [PHRASE_BUY] = LIST("I want you to buy the GROCERY: $1.", "I want you to buy the GROCERY: $1.",
                        "I want you to buy the $1.", "Please buy the $1.", "Remember to buy $1 for me.",
                        "Could you buy some $1 today?", "When you are out, buy the $1.", "I need you to buy $1.",
                        "Do not forget to buy the $1.", "Please buy me some $1."),
    [PHRASE_BUY_QUESTION] =
        LIST("Which grocery did I ask you to buy?", "What did I want you to buy?", "What was it that you should buy?",
             "What do you have to buy for me?", "Do you remember what to buy?",
             "Which GROCERY did I want you to buy earlier?", "Tell me what I asked you to buy.",
             "What is the grocery that I want you to buy?", "Which grocery should you buy?"),
    [PHRASE_BUY_LETTERED] =
        LIST("Which one is the GROCERY that I want you to buy earlier?",
             "Which one is the GROCERY that I want you to buy earlier?", "Which grocery did I ask you to buy?",
             "Which one should you buy for me?", "Which of these did I want you to buy?"),
    [PHRASE_BUY_ANSWER] = LIST("You asked me to buy the[ $1].", "I have to buy the[ $1].", "You want me to buy[ $1]."),
    [PHRASE_GROCERY] =
        LIST("My sister sold the $1.", "There were no $1 at the shop.", "I do not like $1.", "My uncle grows $1.",
             "We had $1 for lunch.", "The price of $1 is high this week.", "My neighbour gave away the $1.",
             "The children ate all the $1.", "Somebody spilled the $1 on the floor.", "I saw $1 on the table.",
             "My cousin cannot stand $1.", "The cook forgot the $1.", "A truck brought $1 to the village.",
             "The picture on the wall shows $1.", "My brother dreamed of $1."),
    [PHRASE_GROCERY_LIST] =
        LIST("At the shop they have $1, $2, $3 and $4.", "The market sells $1, $2, $3 and $4.",
             "On the shelf I see $1, $2, $3 and $4.", "The list on the door says $1, $2, $3 and $4.",
             "There are $1, $2, $3 and $4 in the shop.", "The new shop has $1, $2, $3 and $4."),
    [PHRASE_LEAD_IN] = LIST("By the way,", "I heard that", "You know,", "They say that", "It is true that", "Listen,",
                            "I think that", "Did you know that", "As I said,", "Well,"),
    [PHRASE_ACK] = LIST("OK.", "OK.", "OK.", "I see.", "Thank you.", "Good to know.", "All right.", "Noted."),
    [PHRASE_CHAT] = LIST(
        "The weather is nice today.", "I slept well last night.", "It is getting late.", "I am a bit tired.",
        "What a lovely morning.", "The train was late again.", "I have a lot of work this week.",
        "My phone is very slow.", "The neighbours are loud today.", "I watched a film last night.",
        "The garden looks great.", "I hope it will not rain.", "Lunch was good today.", "I am going for a walk soon.",
        "The street was full of people.", "My shoes are wet.", "The bus came on time.", "I read a long book.",
        "The window is open.", "I would like a short break.", "How are you today?", "Are you busy?", "Shall we go on?",
        "Did you sleep well?", "It was cold in the morning.", "The shop opens at nine.", "There is a party on Friday.",
        "The new road is finished.", "I have to call my mother.", "The meeting took two hours."),
    [PHRASE_CHAT_REPLY] =
        LIST("That is nice to hear.", "I understand.", "Let us go on.", "I hope all is well.", "Yes, of course.",
             "That sounds fine.", "Good.", "I am glad to help.", "Thank you for telling me.", "Sure."),
    [PHRASE_LINE] = LIST("line $1 has the register content[ $2].", "line $1: the register content is[ $2].",
                         "line $1 holds the register content[ $2]."),
    [PHRASE_LINE_QUESTION] =
        LIST("What is the register content in line $1?", "Tell me the register content in line $1.",
             "What is the register content of line $1?", "Which register content does line $1 have?"),
    [PHRASE_ROUND] =
        LIST("I chose $1. Choices: (A) rock (B) paper (C) scissors. You choose:", "I chose $1. What do you choose now?",
             "I chose $1. Your turn again:", "Last time I chose $1. Choose rock, paper or scissors:",
             "My move was $1. Choose again:", "I showed $1. Next round, you choose:"),
    [PHRASE_ROUND_FIRST] = LIST(
        "Let us play rock, paper, scissors. Choices: (A) rock (B) paper (C) scissors. You choose:",
        "Please play a game of rock, paper, scissors. You choose:", "I want to play rock, paper, scissors. Your turn:"),
    [PHRASE_CODE] = LIST("The code of the $1 $2 is $3.", "To open the $1 $2 use the code $3.",
                         "Remember the code $3 for the $1 $2.", "On the $1 $2 there is the code $3.",
                         "The $1 $2 has the code $3.", "Please note the code $3 of the $1 $2."),
    [PHRASE_CODE_QUESTION] =
        LIST("What is the code of the $1 $2?", "Which code has the $1 $2?", "Tell me the code for the $1 $2.",
             "Do you remember the code of the $1 $2?", "How do I open the $1 $2?", "I need the code of the $1 $2."),
    [PHRASE_STORY] = LIST(
        "$1 walked to the market and met $2.", "In the evening $1 and $2 sat by the fire.", "$1 asked $2 about the $3.",
        "The road to $4 was long and quiet.", "$1 looked at the $3 for a long time.", "Then $2 told $1 a secret.",
        "They talked about $4 until the sun went down.", "$1 put the $3 on the table.",
        "It rained all day, and $2 stayed at home.", "After breakfast $1 wrote a letter to $2.",
        "$2 laughed and gave the $3 back to $1.", "Nobody in $4 knew what had happened.",
        "The next morning $1 woke up early.", "$1 wanted to travel to $4 with $2.",
        "At night $2 could hear the wind in the trees.", "$1 was not sure whether to trust $2.",
        "The $3 was still where $1 had left it.", "A stranger from $4 came to see $1.", "$2 took the train to $4.",
        "It was warm, and $1 opened the window.", "$1 and $2 had been friends for years.",
        "Suddenly $1 remembered the $3.", "When $2 came home, $1 was waiting.", "The people of $4 told many stories."),
    [PHRASE_STORY_FACT] = LIST("As everyone knew, $1 was a $4 from $3.", "$1, the $4 from $3, always carried the $2.",
                               "The $2 belonged to $1, the $4.", "$1 thought of $3 and of work as a $4.",
                               "Without the $2 $1 never left $3.", "Once more $1 took the $2 and went back to $3.",
                               "A $4 like $1 needs the $2.", "\"I am $1, the $4,\" said the traveller from $3."),
    [PHRASE_STORY_OPENING] =
        LIST("One day", "In those days", "Some time later", "On a cold morning", "A week later", "That summer",
             "Soon after that", "Before long", "Late in the year", "On the first day of spring"),
};

const struct topic *fact_topics(int *n) {
  *n = (int)(sizeof topics / sizeof topics[0]);
  return topics;
}

struct phrases phrases_of(enum phrase_kind kind) {
  return kinds[kind];
}

sluice_status phrase_fill(struct buffer *out, const char *phrase, const char *const args[4], size_t span[2],
                          struct sluice_error *err) {
  size_t ignored[2];
  if (!span) span = ignored;
  span[0] = span[1] = 0;
  while (*phrase) {
    size_t plain = strcspn(phrase, "$[]");
    sluice_status st = buffer_append(out, phrase, plain, err);
    if (st) return st;
    phrase += plain;
    if (*phrase == '[') {
      span[0] = out->len;
      phrase++;
    } else if (*phrase == ']') {
      span[1] = out->len;
      phrase++;
    } else if (*phrase == '$') {
      st = buffer_append_str(out, args[phrase[1] - '1'], err);
      if (st) return st;
      phrase += 2;
    }
  }
  return SLUICE_OK;
}
