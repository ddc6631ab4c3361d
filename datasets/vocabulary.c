#include "datasets/vocabulary.h"

#include <stddef.h>

static const char *const grocery_train[] = {
    "rice",        "milk",        "bread",     "butter",    "cheese",   "eggs",      "flour",     "sugar",
    "salt",        "pepper",      "honey",     "jam",       "tea",      "coffee",    "apples",    "pears",
    "grapes",      "cherries",    "oranges",   "lemons",    "limes",    "bananas",   "peaches",   "melons",
    "berries",     "raisins",     "dates",     "nuts",      "almonds",  "walnuts",   "beans",     "peas",
    "corn",        "carrots",     "potatoes",  "onions",    "garlic",   "tomatoes",  "cucumbers", "lettuce",
    "cabbage",     "spinach",     "celery",    "mushrooms", "pumpkins", "beets",     "leeks",     "radishes",
    "ginger",      "basil",       "parsley",   "mint",      "thyme",    "cinnamon",  "vanilla",   "mustard",
    "vinegar",     "oil",         "olives",    "pickles",   "ketchup",  "noodles",   "pasta",     "oats",
    "barley",      "wheat",       "crackers",  "cookies",   "cakes",    "muffins",   "biscuits",  "pies",
    "waffles",     "pancakes",    "chocolate", "candy",     "syrup",    "yogurt",    "cream",     "ham",
    "bacon",       "sausages",    "beef",      "pork",      "chicken",  "turkey",    "lamb",      "salmon",
    "tuna",        "shrimp",      "crab",      "fish",      "soup",     "juice",     "water",     "soda",
    "cider",       "popcorn",     "chips",     "pretzels",  "cereal",   "granola",   "tofu",      "hummus",
    "salsa",       "sauce",       "broth",     "jelly",     "custard",  "sardines",  "herring",   "strawberries",
    "raspberries", "blueberries", "mangoes",   "papayas",   "kiwis",    "plantains", "zucchini",  "peppers",
    "chestnuts",   NULL};
static const char *const grocery_test[] = {
    "lentils",   "figs",      "plums",       "apricots",   "turnips",    "cashews",    "quinoa",
    "rosemary",  "saffron",   "mackerel",    "oysters",    "fennel",     "artichokes", "asparagus",
    "guavas",    "pecans",    "hazelnuts",   "paprika",    "oregano",    "tapioca",    "couscous",
    "marmalade", "margarine", "anchovies",   "lobster",    "venison",    "pistachios", "cranberries",
    "coconuts",  "eggplants", "parsnips",    "tangerines", "nutmeg",     "cumin",      "molasses",
    "kale",      "broccoli",  "cauliflower", "avocados",   "pineapples", NULL};

static const char *const name_train[] = {
    "Tom",     "Anna",   "Ben",    "Clara",  "David",  "Emma",    "Frank",  "Grace",   "Henry",   "Ida",     "Jack",
    "Kate",    "Leo",    "Mary",   "Nick",   "Olive",  "Paul",    "Rose",   "Sam",     "Tina",    "Victor",  "Wendy",
    "Adam",    "Bella",  "Carl",   "Diana",  "Eric",   "Fiona",   "George", "Helen",   "Ivan",    "Julia",   "Kevin",
    "Laura",   "Mark",   "Nora",   "Oscar",  "Peter",  "Quinn",   "Rachel", "Simon",   "Tara",    "Ursula",  "Walter",
    "Alice",   "Brian",  "Cathy",  "Daniel", "Edith",  "Fred",    "Gina",   "Hugo",    "Irene",   "James",   "Karen",
    "Louis",   "Martha", "Neil",   "Olga",   "Philip", "Rita",    "Steven", "Teresa",  "Vera",    "William", "Amy",
    "Bruce",   "Cora",   "Dennis", "Ella",   "Felix",  "Gloria",  "Harold", "Iris",    "Jacob",   "Kim",     "Linda",
    "Michael", "Nancy",  "Owen",   "Paula",  "Robert", "Sarah",   "Thomas", "Violet",  "Andrew",  "Betty",   "Charles",
    "Dora",    "Edward", "Flora",  "Gary",   "Hannah", "Isaac",   "Jane",   "Keith",   "Lucy",    "Martin",  "Nina",
    "Oliver",  "Pamela", "Ralph",  "Sandra", "Ted",    "Vivian",  "Albert", "Barbara", "Colin",   "Donna",   "Ernest",
    "Frida",   "Gordon", "Hilda",  "Ian",    "Jenny",  "Kurt",    "Lily",   "Max",     "Nelly",   "Otto",    "Polly",
    "Roger",   "Sally",  "Tim",    "Wilma",  "Arthur", "Bonnie",  "Chris",  "Daisy",   "Elliot",  "Faith",   "Glen",
    "Heidi",   "Jason",  "Joan",   "Kyle",   "Lena",   "Matthew", "Molly",  "Norman",  "Patrick", "Ruth",    "Sean",
    "Sofia",   NULL};
static const char *const name_test[] = {
    "Miriam",   "Duncan",  "Astrid",   "Rupert",   "Ingrid", "Lionel",  "Freya",    "Magnus",   "Beatrix",
    "Cedric",   "Odette",  "Jasper",   "Sabine",   "Tobias", "Petra",   "Quentin",  "Marlene",  "Fergus",
    "Delphine", "Conrad",  "Ramona",   "Silas",    "Agatha", "Bertram", "Celeste",  "Desmond",  "Estelle",
    "Gideon",   "Hazel",   "Ignatius", "Juniper",  "Klaus",  "Lorena",  "Morris",   "Nadine",   "Orlando",
    "Phoebe",   "Reuben",  "Selma",    "Theodore", "Una",    "Vernon",  "Winifred", "Xavier",   "Yvonne",
    "Zelda",    "Ambrose", "Bridget",  "Clement",  "Dagmar", "Edmund",  "Fabian",   "Gretchen", "Horace",
    "Imogen",   "Jerome",  "Katrin",   "Leopold",  "Muriel", "Nigel",   NULL};

static const char *const city_train[] = {
    "Paris",   "London",  "Rome",      "Berlin",    "Madrid",   "Vienna",  "Dublin",    "Athens",  "Cairo",
    "Boston",  "Chicago", "Denver",    "Dallas",    "Miami",    "Seattle", "Tokyo",     "Delhi",   "Lima",
    "Moscow",  "Prague",  "Warsaw",    "Milan",     "Naples",   "Venice",  "Geneva",    "Zurich",  "Munich",
    "Hamburg", "Cologne", "Lyon",      "Nice",      "Brussels", "Ghent",   "Rotterdam", "Leeds",   "York",
    "Bristol", "Oxford",  "Cambridge", "Glasgow",   "Cardiff",  "Belfast", "Houston",   "Phoenix", "Atlanta",
    "Detroit", "Toronto", "Montreal",  "Vancouver", "Sydney",   "Perth",   "Brisbane",  "Nairobi", "Lagos",
    "Tunis",   "Havana",  "Bogota",    "Santiago",  "Seoul",    "Beijing", "Shanghai",  "Manila",  "Bangkok",
    "Hanoi",   "Mumbai",  "Tehran",    "Istanbul",  "Kiev",     "Riga",    "Zagreb",    "Malta",   "Porto",
    NULL};
static const char *const city_test[] = {
    "Oslo",     "Turin",    "Lisbon",    "Bergen",  "Krakow",  "Utrecht",  "Salzburg", "Tallinn",
    "Helsinki", "Valencia", "Marseille", "Dresden", "Bologna", "Aberdeen", "Plymouth", "Memphis",
    "Ottawa",   "Auckland", "Quito",     "Caracas", "Nagoya",  "Osaka",    "Jakarta",  "Karachi",
    "Tirana",   "Vilnius",  "Bremen",    "Antwerp", "Toledo",  "Dakar",    NULL};

static const char *const job_train[] = {
    "baker",      "teacher",      "doctor",    "nurse",      "driver",     "farmer",   "painter",   "writer",
    "singer",     "dancer",       "lawyer",    "judge",      "cook",       "waiter",   "barber",    "tailor",
    "plumber",    "builder",      "miner",     "sailor",     "pilot",      "soldier",  "guard",     "clerk",
    "banker",     "butcher",      "carpenter", "mechanic",   "gardener",   "hunter",   "fisherman", "librarian",
    "journalist", "photographer", "scientist", "chemist",    "dentist",    "vet",      "priest",    "mayor",
    "postman",    "cleaner",      "designer",  "director",   "manager",    "reporter", "shoemaker", "secretary",
    "porter",     "receptionist", "tutor",     "translator", "watchmaker", NULL};
static const char *const job_test[] = {
    "surgeon",       "locksmith", "geologist",  "blacksmith", "florist",     "jeweller",     "magician",
    "conductor",     "lifeguard", "beekeeper",  "potter",     "firefighter", "cartographer", "sculptor",
    "mathematician", "welder",    "bookbinder", "weaver",     "novelist",    "zoologist",    NULL};

static const char *const pet_train[] = {
    "Rex",   "Buddy",   "Luna",   "Milo",   "Coco",    "Rocky",    "Lucky",   "Shadow",  "Smokey", "Tiger",  "Patch",
    "Spot",  "Rusty",   "Sandy",  "Snowy",  "Fluffy",  "Bingo",    "Biscuit", "Cookie",  "Domino", "Ziggy",  "Toby",
    "Scout", "Ranger",  "Duke",   "Prince", "Queenie", "Princess", "Misty",   "Pebbles", "Sparky", "Whisky", "Socks",
    "Boots", "Mittens", "Button", "Pip",    "Sunny",   "Bandit",   "Cosmo",   NULL};
static const char *const pet_test[] = {"Nimbus", "Fidget",   "Marble",  "Cricket",  "Tango",   "Thistle", "Bramble",
                                       "Pickle", "Comet",    "Noodle",  "Gizmo",    "Tinker",  "Clover",  "Acorn",
                                       "Pirate", "Maverick", "Twiglet", "Dumpling", "Pumpkin", "Rascal",  NULL};

static const char *const drink_train[] = {"water",      "milk",  "tea",    "coffee", "juice", "cider",     "soda",
                                          "lemonade",   "cocoa", "beer",   "wine",   "broth", "cola",      "rum",
                                          "gin",        "vodka", "whisky", "brandy", "tonic", "smoothies", "milkshakes",
                                          "buttermilk", "punch", "mead",   "ale",    NULL};
static const char *const drink_test[] = {"espresso", "sherry",  "kefir",   "champagne", "cappuccino",
                                         "ginseng",  "bourbon", "tequila", "horchata",  "sangria",
                                         "lager",    "eggnog",  NULL};

static const char *const colour_train[] = {"red",  "blue",   "green",  "yellow", "black", "white",  "brown",
                                           "grey", "pink",   "purple", "orange", "gold",  "silver", "violet",
                                           "navy", "beige",  "cream",  "tan",    "olive", "lime",   "peach",
                                           "ruby", "copper", "bronze", NULL};
static const char *const colour_test[] = {"teal",   "crimson",  "magenta", "turquoise", "indigo", "scarlet",
                                          "maroon", "lavender", "amber",   "khaki",     NULL};

static const char *const hobby_train[] = {
    "reading",    "running",    "swimming",  "dancing",  "singing",   "painting", "cooking",  "baking",
    "fishing",    "hiking",     "skiing",    "sailing",  "cycling",   "climbing", "drawing",  "writing",
    "knitting",   "sewing",     "gardening", "camping",  "riding",    "surfing",  "skating",  "rowing",
    "hunting",    "boxing",     "diving",    "bowling",  "golfing",   "jogging",  "walking",  "shopping",
    "travelling", "acting",     "juggling",  "gaming",   "sculpting", "carving",  "cleaning", "driving",
    "flying",     "collecting", "weaving",   "singing2", "wrestling", NULL};
static const char *const hobby_test[] = {
    "fencing",   "archery",    "pottery",   "kayaking",    "snorkelling", "birdwatching", "origami",
    "yodelling", "embroidery", "astronomy", "calligraphy", "paragliding", "beekeeping",   "gymnastics",
    "chess",     "sledging",   "whittling", "karate",      "yoga",        "photography",  NULL};

static const char *const instrument_train[] = {
    "piano", "guitar",   "violin",   "flute",    "drums",     "trumpet", "harp",    "cello", "organ",
    "banjo", "clarinet", "trombone", "tuba",     "horn",      "fiddle",  "whistle", "bell",  "lute",
    "oboe",  "recorder", "triangle", "bagpipes", "xylophone", "ukulele", NULL};
static const char *const instrument_test[] = {"saxophone", "accordion", "mandolin",   "bassoon", "harmonica",
                                              "viola",     "piccolo",   "tambourine", "zither",  "marimba",
                                              "sitar",     "bugle",     NULL};

static const char *const language_train[] = {"French",   "German", "Spanish", "Italian", "Dutch",  "Greek",  "Latin",
                                             "Russian",  "Polish", "Swedish", "Danish",  "Arabic", "Hebrew", "Chinese",
                                             "Japanese", "Korean", "Turkish", "Hindi",   "Irish",  "Welsh",  "English",
                                             "Czech",    "Thai",   "Persian", NULL};
static const char *const language_test[] = {"Finnish", "Icelandic", "Bengali", "Swahili",  "Hungarian",
                                            "Catalan", "Basque",    "Tamil",   "Estonian", "Mongolian",
                                            "Zulu",    "Albanian",  NULL};

static const char *const object_train[] = {
    "lamp",    "box",    "key",    "bag",   "book",    "cup",      "clock",   "coin",   "ring",   "hat",
    "scarf",   "glove",  "belt",   "knife", "basket",  "bottle",   "candle",  "mirror", "brush",  "pillow",
    "blanket", "ladder", "bucket", "rope",  "broom",   "map",      "letter",  "ticket", "wallet", "watch",
    "camera",  "radio",  "phone",  "pen",   "pencil",  "notebook", "jar",     "plate",  "bowl",   "kettle",
    "pan",     "tray",   "vase",   "stool", "curtain", "carpet",   "picture", "statue", "chain",  NULL};
static const char *const object_test[] = {"lantern",   "compass",  "umbrella", "suitcase", "hammock",  "telescope",
                                          "goblet",    "locket",   "satchel",  "teapot",   "parasol",  "chessboard",
                                          "doormat",   "necklace", "bracelet", "thermos",  "backpack", "flashlight",
                                          "corkscrew", "trophy",   NULL};

static const struct word_set sets[WORD_KINDS] = {
    [WORD_GROCERY] = {"groceries", grocery_train, grocery_test, 0},
    [WORD_NAME] = {"names", name_train, name_test, 1},
    [WORD_CITY] = {"cities", city_train, city_test, 1},
    [WORD_JOB] = {"jobs", job_train, job_test, 0},
    [WORD_PET] = {"names of pets", pet_train, pet_test, 1},
    [WORD_DRINK] = {"drinks", drink_train, drink_test, 0},
    [WORD_COLOUR] = {"colours", colour_train, colour_test, 0},
    [WORD_HOBBY] = {"hobbies", hobby_train, hobby_test, 0},
    [WORD_INSTRUMENT] = {"instruments", instrument_train, instrument_test, 0},
    [WORD_LANGUAGE] = {"languages", language_train, language_test, 1},
    [WORD_OBJECT] = {"objects", object_train, object_test, 0},
};

static const char *const category_0[] = {"horse", "dog",  "cat", "cow",    "sheep", "goat", "lion",
                                         "bear",  "wolf", "fox", "rabbit", "mouse", NULL};
static const char *const category_1[] = {"hammer", "saw",    "shovel", "drill",       "axe",  "rake", "wrench",
                                         "chisel", "pliers", "spade",  "screwdriver", "file", NULL};
static const char *const category_2[] = {"car",  "bus", "train",   "truck",   "ship", "plane", "boat",
                                         "tram", "van", "tractor", "bicycle", "taxi", NULL};
static const char *const category_3[] = {"shirt", "coat",     "dress", "skirt",   "jacket", "sock", "shoe",
                                         "boot",  "trousers", "vest",  "sweater", "cap",    NULL};
static const char *const category_4[] = {"chair",    "table",    "bed",      "sofa",  "desk",    "shelf", "bench",
                                         "wardrobe", "cupboard", "armchair", "couch", "dresser", NULL};
static const char *const category_5[] = {"arm",   "leg",      "hand",   "foot", "nose", "ear", "knee",
                                         "elbow", "shoulder", "finger", "neck", "chin", NULL};
static const char *const category_6[] = {"rain",     "snow",  "wind",    "fog",    "hail",  "storm", "thunder",
                                         "sunshine", "frost", "drizzle", "breeze", "sleet", NULL};
static const char *const category_7[] = {"circle",    "square", "cube",     "sphere",  "oval",   "cone", "pyramid",
                                         "rectangle", "star",   "cylinder", "hexagon", "spiral", NULL};
static const char *const category_8[] = {"tree", "grass", "bush",  "fern",   "moss", "ivy", "oak",
                                         "pine", "tulip", "daisy", "cactus", "reed", NULL};
static const char *const category_9[] = {"house", "church", "castle",  "school", "hospital", "barn", "tower",
                                         "hotel", "museum", "library", "palace", "hut",      NULL};
static const char *const category_10[] = {"eagle", "owl",     "crow",   "swan",    "duck",   "goose", "robin",
                                          "hawk",  "sparrow", "parrot", "penguin", "pigeon", NULL};
static const char *const category_11[] = {"joy",  "anger", "fear",  "sadness", "love",     "shame", "pride",
                                          "envy", "hope",  "grief", "boredom", "surprise", NULL};

static const struct word_category categories[] = {
    {"Which of these is an animal?", category_0},         {"Which of these is a tool?", category_1},
    {"Which of these is a vehicle?", category_2},         {"Which of these can you wear?", category_3},
    {"Which of these is furniture?", category_4},         {"Which of these is a part of the body?", category_5},
    {"Which of these is a kind of weather?", category_6}, {"Which of these is a shape?", category_7},
    {"Which of these is a plant?", category_8},           {"Which of these is a building?", category_9},
    {"Which of these is a bird?", category_10},           {"Which of these is a feeling?", category_11},
};

static const struct word_pair opposites[] = {
    {"hot", "cold"},     {"big", "small"},    {"fast", "slow"},   {"light", "dark"},   {"wet", "dry"},
    {"hard", "soft"},    {"rich", "poor"},    {"young", "old"},   {"high", "low"},     {"loud", "quiet"},
    {"early", "late"},   {"full", "empty"},   {"clean", "dirty"}, {"strong", "weak"},  {"thick", "thin"},
    {"happy", "sad"},    {"open", "shut"},    {"near", "far"},    {"sharp", "blunt"},  {"tall", "short"},
    {"sweet", "bitter"}, {"deep", "shallow"}, {"wide", "narrow"}, {"cheap", "costly"},
};

const struct word_set *vocabulary(enum word_kind kind) {
  return &sets[kind];
}

const struct word_category *word_categories(int *n) {
  *n = (int)(sizeof categories / sizeof categories[0]);
  return categories;
}

const struct word_pair *word_opposites(int *n) {
  *n = (int)(sizeof opposites / sizeof opposites[0]);
  return opposites;
}

int word_count(const char *const *words) {
  int n = 0;
  while (words[n]) n++;
  return n;
}
